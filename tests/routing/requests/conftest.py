"""Small experts, data whose truth is known, and a real server that speaks OpenAI's protocol or does not."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from merganser.routing.requests import Expert, Limits, RoutingData, Row, question_answering, threaded


class Handler(BaseHTTPRequestHandler):
    """What the prompt asks for: an answer, an error, silence or garbage."""

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append((self.path, asked, dict(self.headers)))
        prompt = asked["messages"][0]["content"]
        if "hang" in prompt:
            self.server.closing.wait(20)
        elif "drip" in prompt:
            self._drip()
        elif "fail" in prompt:
            self._send(500, json.dumps({"error": f"no, {self.headers['Authorization']}"}))
        elif "move" in prompt:
            self.send_response(302)
            self.send_header("Location", f"http://localhost:{self.server.server_port}/elsewhere")
            self.end_headers()
        elif "garbage" in prompt:
            self._send(200, "<html>")
        elif "odd" in prompt:
            self._send(200, json.dumps({"choices": [{"message": {"content": None}}]}))
        else:
            message = {"role": "assistant", "content": f"You said {prompt}"}
            self._send(
                200, json.dumps({"choices": [{"message": message}], "usage": {"completion_tokens": 4}})
            )

    def _send(self, code, text):
        self.send_response(code)
        self.end_headers()
        self.wfile.write(text.encode())

    def _drip(self):
        """A byte now and then: no single read is late, the whole is."""
        self.send_response(200)
        self.end_headers()
        end = time.monotonic() + 5
        while time.monotonic() < end and not self.server.closing.wait(0.05):
            try:
                self.wfile.write(b" ")
                self.wfile.flush()
            except OSError:
                return

    def log_message(self, *_):
        pass


@pytest.fixture
def service():
    """A server on this machine; `asked` holds what it was sent."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.asked, server.closing = [], threading.Event()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.closing.set()
    server.shutdown()
    server.server_close()


@pytest.fixture
def expert():
    """Makes an expert of a function; answers in words unless a contract is given."""

    def make(name, function, contract=None, **options):
        limits = Limits(seconds=options.pop("seconds", 5.0))
        return Expert(name, contract or question_answering(limits=limits), threaded(function), **options)

    return make


def rows_of_two(count=60, split="all"):
    """Sums that only `sums` solves and words that only `words` solves."""
    rows = []
    for n in range(count):
        sum_, said = (
            f"What is {n * 7} plus {n + 3}?",
            f"Which word rhymes with {'abcdefgh'[n % 8] * (1 + n // 8)}at?",
        )
        for text, is_sum in ((sum_, True), (said, False)):
            task = "sums" if is_sum else "rhymes"
            rows.append(Row("sums", text, float(is_sum), split, is_sum, task))
            rows.append(Row("words", text, float(not is_sum), split, True, task))
    return rows


@pytest.fixture
def two():
    """Data of two experts that share no skill."""
    return RoutingData.of(rows_of_two(), ["sums", "words"])


@pytest.fixture
def chancy():
    """Makes data whose probability of solving is known: by the kind of request and the expert."""

    def make(count, seed, split="all"):
        draw = np.random.Generator(np.random.Philox(key=seed))
        chances = {"red": (0.9, 0.3), "green": (0.5, 0.7), "blue": (0.15, 0.2)}
        rows, truth = [], {}
        for n in range(count):
            kind = list(chances)[n % 3]
            text = f"{kind} request {seed}x{n} about {draw.choice(['ducks', 'fish', 'rivers'])}"
            truth[text] = chances[kind]
            for name, chance in zip(("left", "right"), chances[kind], strict=True):
                rows.append(Row(name, text, float(draw.random() < chance), split))
        return RoutingData.of(rows, ["left", "right"]), truth

    return make


@pytest.fixture
def stories():
    """Folder of a small real model."""
    return Path(__file__).parents[2] / "data" / "stories260k"
