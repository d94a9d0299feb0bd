"""A headless Chromium that is driven over a pipe, by the protocol of its developer tools."""

import itertools
import json
import os
import shutil
import subprocess
import tempfile

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
OPTIONS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    " --disable-component-update --disable-sync --disable-dev-shm-usage --remote-debugging-pipe"
).split()


def find_browser():
    """The path of a Chromium, or None."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


class Page:
    """One page of a browser of its own; a context manager."""

    def __init__(self, url):
        self.url = url
        self.numbers = itertools.count(1)

    def __enter__(self):
        self.profile = tempfile.mkdtemp()
        (their_in, self.out), (self.into, their_out) = os.pipe(), os.pipe()

        def at_three_and_four():  # where Chromium looks for the pipe
            spare = [os.dup(fd) for fd in (their_in, their_out)]
            for fd, number in zip(spare, (3, 4)):
                os.dup2(fd, number)

        self.process = subprocess.Popen(
            [find_browser(), *OPTIONS, f"--user-data-dir={self.profile}"],
            preexec_fn=at_three_and_four,
            close_fds=False,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(their_in)
        os.close(their_out)
        self.buffer = b""
        self.session = None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.call("Network.enable")
        self.call("Page.enable")
        self.call("Page.navigate", url=self.url)
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        os.close(self.out)
        os.close(self.into)
        shutil.rmtree(self.profile, ignore_errors=True)

    def call(self, method, **parameters):
        """The result of a method of the protocol."""
        number = next(self.numbers)
        message = {"id": number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == number:
                assert "error" not in answer, answer
                return answer["result"]

    def _read(self):
        while b"\0" not in self.buffer:
            block = os.read(self.into, 1 << 16)
            assert block, "Chromium ended"
            self.buffer += block
        message, self.buffer = self.buffer.split(b"\0", 1)
        return json.loads(message)

    def evaluate(self, expression):
        """The value of an expression of JavaScript, awaited where it is a promise."""
        found = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def wait_for(self, expression, seconds=30):
        """The value of an expression once it is true."""
        poll = f"""new Promise((resolve, reject) => {{
          const end = Date.now() + {1000 * seconds};
          const look = () => {{
            const found = {expression};
            if (found) resolve(found);
            else if (Date.now() > end) reject(new Error(document.body.innerText));
            else setTimeout(look, 20);
          }};
          look();
        }})"""
        return self.evaluate(poll)
