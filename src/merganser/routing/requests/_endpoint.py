"""Services that speak OpenAI's chat protocol as experts."""

from __future__ import annotations

import ipaddress
import json
import os
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from merganser._errors import ConfigError
from merganser.routing.requests._contract import Limits
from merganser.routing.requests._expert import AskError, LateError, Reply
from merganser.routing.requests._threads import Lost

_LARGEST = 4 * 2**20  # bytes of an answer


@dataclass(frozen=True)
class Endpoint:
    """A way to ask: `POST URL/chat/completions`, one message of the user, temperature 0.

    The key is read from the environment when it is needed, sent to this address only (redirects are not followed), and
    never written or logged.

    Attributes:
        url: Address up to the version, such as `http://127.0.0.1:8000/v1`.
        model: Name of the model there.
        key: Name of the environment variable that holds the key; None if none is needed.

    Raises:
        ConfigError: If the address is no http or https address, or a key would travel unencrypted to another machine.
    """

    url: str
    model: str
    key: str | None = None
    _lost: Lost = field(default_factory=Lost, repr=False, compare=False)

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(f"Expected an address such as https://host/v1, found {self.url!r}.")
        if self.key and parts.scheme == "http" and not _is_this_machine(parts.hostname):
            raise ConfigError(f"The key {self.key} would travel unencrypted to {parts.hostname}. Use https.")

    def __call__(self, prompt: str, limits: Limits, /) -> Reply:
        """The answer to a prompt.

        Raises:
            ConfigError: If the variable of the key is not set.
            LateError: If there is none in time.
            AskError: If the service refuses, or answers with something else.
        """
        key = self._secret()
        try:
            return self._lost.call(lambda: self._ask(prompt, limits, key), limits.seconds)
        except AskError as error:
            if key and key in str(error):  # a service may repeat what it was sent
                raise type(error)(str(error).replace(key, "…")) from None
            raise

    def _secret(self) -> str | None:
        if self.key is None:
            return None
        if not os.environ.get(self.key):
            raise ConfigError(f"The endpoint {self.url} needs a key in the environment variable {self.key}.")
        return os.environ[self.key]

    def _ask(self, prompt: str, limits: Limits, key: str | None) -> Reply:
        asked: dict[str, Any] = {
            "model": self.model,
            "messages": [{"role": "user", "content": prompt}],
            "max_tokens": limits.max_tokens,
            "temperature": 0,
        }
        if limits.stop:
            asked["stop"] = list(limits.stop)
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
        address = f"{self.url.rstrip('/')}/chat/completions"
        request = urllib.request.Request(address, json.dumps(asked).encode(), headers)  # noqa: S310 - checked above
        try:
            with urllib.request.build_opener(_Stay).open(request, timeout=limits.seconds) as response:
                body = response.read(_LARGEST + 1)
        except urllib.error.HTTPError as error:
            with error:
                said = error.read(400).decode(errors="replace")
            raise AskError(f"answered {error.code} {error.reason}: {said[:200]}") from None
        except TimeoutError:
            raise LateError(f"took longer than {limits.seconds:g} s") from None
        except OSError as error:
            if isinstance(getattr(error, "reason", None), TimeoutError):
                raise LateError(f"took longer than {limits.seconds:g} s") from None
            raise AskError(f"cannot be reached: {getattr(error, 'reason', error)}") from None
        return _reply(body)


class _Stay(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: the key would go along."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> None:
        """None: the answer is an error."""


def _reply(body: bytes) -> Reply:
    if len(body) > _LARGEST:
        raise AskError(f"answered with more than {_LARGEST:,} bytes")
    try:
        answer = json.loads(body)
        text = answer["choices"][0]["message"]["content"]
        tokens = (answer.get("usage") or {}).get("completion_tokens") or 0
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
        said = body[:120].decode(errors="replace")
        raise AskError(f"answered with no chat completion: {said!r}") from None
    if not isinstance(text, str) or not isinstance(tokens, int):
        raise AskError(f"answered with no text but {type(text).__name__}")
    return Reply(text, tokens)


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
