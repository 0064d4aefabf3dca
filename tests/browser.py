"""A headless Chromium that tests tell what to do, through the pipe of its DevTools protocol alone."""

import base64
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PATIENCE_S = 30.0


class Page:
    """One page of a browser."""

    def __init__(self, requests: int, answers: int) -> None:
        self._requests, self._answers = requests, answers
        self._received = b""
        self._number = 0
        target = self._ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]

    def open(self, url: str) -> None:
        self._ask("Page.navigate", self._session, url=url)

    def evaluate(self, script: str) -> Any:
        """Return the value of a JavaScript expression."""
        answer = self._ask("Runtime.evaluate", self._session, expression=script, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def wait_for(self, script: str) -> Any:
        """Return the value of a JavaScript expression once it is true."""
        give_up_s = time.monotonic() + PATIENCE_S
        while not (value := self.evaluate(script)):
            if time.monotonic() > give_up_s:
                raise AssertionError(f"never true: {script}\n{self.evaluate('document.body.innerText')}")
            time.sleep(0.05)
        return value

    def click(self, label: str) -> None:
        """Click the button with this text, once it is there."""
        buttons = "[...document.querySelectorAll('button,[role=tab]')]"
        find = f"{buttons}.find(b => b.textContent.trim().toUpperCase() === {json.dumps(label.upper())})"
        self.wait_for(f"(() => {{ const found = {find}; found?.click(); return !!found }})()")

    def keep_screenshot(self, file: Path) -> None:
        file.write_bytes(base64.b64decode(self._ask("Page.captureScreenshot", self._session)["data"]))

    def _ask(self, method: str, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        addressed = {**message, "sessionId": session} if session else message
        os.write(self._requests, json.dumps(addressed).encode() + b"\0")
        while True:
            answer: dict[str, Any] = json.loads(self._receive())
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]  # type: ignore[no-any-return]

    def _receive(self) -> bytes:
        while b"\0" not in self._received:
            assert select.select([self._answers], [], [], PATIENCE_S)[0], "Chromium says nothing"
            self._received += os.read(self._answers, 1 << 16)
        message, self._received = self._received.split(b"\0", 1)
        return message


BECOME = """
import os, sys
from fcntl import F_DUPFD, fcntl
requests, answers = (fcntl(int(number), F_DUPFD, 10) for number in sys.argv[1:3])
os.dup2(requests, 3)
os.dup2(answers, 4)
os.execv(sys.argv[3], sys.argv[3:])
"""
"""Becomes the program that is named, with the descriptors that Chromium reads and writes: 3 and 4."""


@contextmanager
def browsing(chromium: str, profile: Path) -> Iterator[Page]:
    requests_out, requests_in = os.pipe()
    answers_out, answers_in = os.pipe()
    options = (
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--remote-debugging-pipe",
        "--window-size=1280,1400",
    )
    command = [sys.executable, "-c", BECOME, str(requests_out), str(answers_in), chromium, *options]
    command.append(f"--user-data-dir={profile}")
    process = subprocess.Popen(command, pass_fds=(requests_out, answers_in), stderr=subprocess.DEVNULL)
    os.close(requests_out)
    os.close(answers_in)
    try:
        yield Page(requests_in, answers_out)
    finally:
        process.terminate()
        process.wait()
        os.close(requests_in)
        os.close(answers_out)
