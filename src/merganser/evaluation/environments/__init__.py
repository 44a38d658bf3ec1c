"""Tasks of several turns: a model reads, acts, reads again.

| names | what |
| --- | --- |
| [`Environment`][], [`EnvironmentSource`][] | worlds, and what makes them |
| [`EnvironmentTask`][], [`EpisodePrompt`][] | the task, and how an episode is put to a model |
| [`Episode`][], [`Turn`][], [`Ending`][] | transcripts |
| [`Seat`][], [`play`][] | the loop, for players that are no models |
| [`environment_named`][] | an environment by `module:function` |
| [`WebShopText`][], [`webshop_goals`][] | Princeton's WebShop |

The reference environment is `merganser.evaluation.environments.shop`.
"""

from merganser.evaluation.environments._environment import Environment, EnvironmentSource
from merganser.evaluation.environments._episode import Ending, Episode, Turn
from merganser.evaluation.environments._named import environment_named
from merganser.evaluation.environments._play import Seat, play
from merganser.evaluation.environments._prompt import EpisodePrompt
from merganser.evaluation.environments._task import EnvironmentTask
from merganser.evaluation.environments._webshop import WebShopText, webshop_goals

__all__ = [
    "Ending",
    "Environment",
    "EnvironmentSource",
    "EnvironmentTask",
    "Episode",
    "EpisodePrompt",
    "Seat",
    "Turn",
    "WebShopText",
    "environment_named",
    "play",
    "webshop_goals",
]
