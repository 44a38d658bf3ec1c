"""Princeton's WebShop, through its text interface.

WebShop is installed and loaded by the user: a function of a module of theirs returns the environment, and a task file
names it (`environment: my_module:make`). Expected is what its documentation calls `WebAgentTextEnv`:
`reset(session=number) -> (observation, …)` and `step(action) -> (observation, reward, done, …)`, and for the goals
`server.goals[number]["instruction_text"]`.

References:
    Yao et al., *WebShop: Towards Scalable Real-World Web Interaction with Grounded Language Agents*, NeurIPS 2022,
    https://arxiv.org/abs/2207.01206
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from merganser._errors import TaskError

_FIELD = "session"


class WebShopText:
    """WebShop as an environment; the number of the goal is the sample's field `session`.

    Args:
        env: A `WebAgentTextEnv` of its own for each episode; several may share one `server`.
    """

    def __init__(self, env: Any) -> None:
        self._env = env

    def reset(self, sample: Mapping[str, Any]) -> str:
        """Begin the session that the sample names.

        Raises:
            TaskError: If the sample names none.
        """
        number = sample["fields"].get(_FIELD, "")
        if not number.isdecimal():
            raise TaskError(f"Expected a goal with the number of its `{_FIELD}`, but found {number!r}.")
        return _first(self._env.reset(session=int(number)))

    def step(self, action: str) -> tuple[str, float, bool]:
        """Search or click; a reward above 1 counts as 1.

        WebShop counts an option that was chosen and stands in the product's title as matched, whether wanted or not,
        so that more options can be matched than are wanted.
        """
        observation, reward, done = self._env.step(action)[:3]
        return observation, min(float(reward), 1.0), done

    def close(self) -> None:
        """Close the environment."""
        self._env.close()


def webshop_goals(env: Any, sessions: Iterable[int]) -> list[dict[str, str]]:
    """Goals of a WebShop as rows of a file of questions (`question`, `session`).

    Args:
        env: A `WebAgentTextEnv`.
        sessions: Numbers of goals; the M2N2 paper searches on 100 to 199 and tests on 0 to 99.
    """
    return [{"question": env.server.goals[n]["instruction_text"], _FIELD: str(n)} for n in sessions]


def _first(answer: Any) -> str:
    return answer[0] if isinstance(answer, tuple) else answer
