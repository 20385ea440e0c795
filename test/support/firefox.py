"""
Minimal WebDriver BiDi client for an unmodified Firefox.

Playwright needs its own patched Firefox. This client controls the distribution's Firefox with its
users' settings. BiDi is built into Firefox, so neither a driver nor an npm package is needed.
"""

# Copyright 2026 The teleop_webrtc_bridge contributors
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
import itertools
import json
from pathlib import Path
import subprocess
import tempfile
from typing import Any, TypeVar

import aiohttp
from programs import wait_for

_T = TypeVar('_T')

START_S = 60.0
COMMAND_S = 60.0
END_S = 10.0
#: These include no settings of media, networks or privacy, because the tests are about those.
PREFERENCES = {
    'app.update.disabledForTesting': True,
    'browser.shell.checkDefaultBrowser': False,
    'datareporting.policy.dataSubmissionEnabled': False,
    'toolkit.telemetry.enabled': False,
}
#: A click after this time is a first click again; Firefox counts clicks within 0.5 s.
DOUBLE_CLICK_S = 0.6


class BidiError(Exception):
    """Firefox refused a command, or a script threw an exception."""


class _Connection:
    """Commands and answers over one WebSocket, with its own event loop."""

    def __init__(self, address: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._ids = itertools.count(1)
        self.events: list[dict[str, Any]] = []
        self._http, self._socket = self._run(self._open(address))

    async def _open(
        self, address: str
    ) -> tuple[aiohttp.ClientSession, aiohttp.ClientWebSocketResponse]:
        http = aiohttp.ClientSession()
        return http, await http.ws_connect(address, max_msg_size=0)

    def _run(self, work: Coroutine[Any, Any, _T]) -> _T:
        return self._loop.run_until_complete(asyncio.wait_for(work, COMMAND_S))

    def command(self, method: str, **parameters: object) -> dict[str, Any]:
        """
        Return the result of a command; keep the events that arrive meanwhile.

        :raises BidiError: Firefox refuses the command.
        """
        answer = self._run(self._command(method, parameters))
        if answer['type'] == 'error':
            raise BidiError(f'{method}: {answer["error"]}: {answer["message"]}')
        return dict(answer['result'])

    async def _command(self, method: str, parameters: dict[str, object]) -> dict[str, Any]:
        number = next(self._ids)
        await self._socket.send_json({'id': number, 'method': method, 'params': parameters})
        while True:
            message = dict(await self._socket.receive_json())
            if message.get('id') == number:
                return message
            self.events.append(message)

    def close(self) -> None:
        self._run(self._socket.close())
        self._run(self._http.close())
        self._loop.close()


class FirefoxPage:
    """One tab, operated as a user would."""

    def __init__(self, connection: _Connection, context: str) -> None:
        self._connection = connection
        self._context = context
        connection.command('session.subscribe', events=['log.entryAdded'])

    def open(self, address: str) -> None:
        self._connection.command(
            'browsingContext.navigate', context=self._context, url=address, wait='complete'
        )

    def before_each_page(self, function: str) -> None:
        """Run a function in each page that is opened from now on, before its own scripts."""
        self._connection.command('script.addPreloadScript', functionDeclaration=function)

    def evaluate(self, expression: str) -> Any:
        """
        Return the value of an expression; if it is a promise, the promise's value.

        :raises BidiError: The expression throws.
        """
        answer = self._connection.command(
            'script.evaluate',
            expression=f'(async () => JSON.stringify(await ({expression})) ?? "null")()',
            target={'context': self._context},
            awaitPromise=True,
        )
        if answer['type'] == 'exception':
            raise BidiError(answer['exceptionDetails']['text'])
        return json.loads(answer['result']['value'])

    def wait_until(self, expression: str, *, timeout_s: float = 30.0) -> Any:
        """Return the first true value of an expression; fail after a time-out."""
        value = self.evaluate(
            f"""(async () => {{
                const until = performance.now() + {timeout_s * 1000};
                for (;;) {{
                    const value = await ({expression});
                    if (value || performance.now() > until) return value;
                    await new Promise((resolve) => setTimeout(resolve, 20));
                }}
            }})()"""
        )
        assert value, f'not within {timeout_s:g} s in the page: {expression}'
        return value

    def metrics(self) -> dict[str, Any]:
        """Return the page's metrics."""
        return dict(self.evaluate('window.teleop.metrics()'))

    def wait_for_state(self, state: str) -> None:
        self.wait_until(f'document.body.dataset.state === {json.dumps(state)}')

    def key_down(self, key: str) -> None:
        self._act('key', 'keyboard', {'type': 'keyDown', 'value': key})

    def key_up(self, key: str) -> None:
        self._act('key', 'keyboard', {'type': 'keyUp', 'value': key})

    def press(self, key: str) -> None:
        self.key_down(key)
        self.key_up(key)

    def click(self, selector: str, *, after_s: float = 0.0) -> None:
        """
        Scroll to an element and click on its centre.

        :param after_s: Pause before the click.
        """
        if after_s > 0.0:
            self._act('pointer', 'mouse', {'type': 'pause', 'duration': round(after_s * 1000)})
        quoted = json.dumps(selector)
        x, y = self.wait_until(
            f"""(() => {{
                const element = document.querySelector({quoted});
                element?.scrollIntoView({{block: 'nearest'}});
                const box = element?.getBoundingClientRect();
                if (!box || box.width === 0 || element.disabled) return null;
                return [box.x + box.width / 2, box.y + box.height / 2];
            }})()"""
        )
        self._act(
            'pointer',
            'mouse',
            {'type': 'pointerMove', 'x': round(x), 'y': round(y)},
            {'type': 'pointerDown', 'button': 0},
            {'type': 'pointerUp', 'button': 0},
        )

    def _act(self, kind: str, name: str, *actions: dict[str, object]) -> None:
        self._connection.command(
            'input.performActions',
            context=self._context,
            actions=[{'type': kind, 'id': name, 'actions': list(actions)}],
        )

    def errors(self) -> list[str]:
        """Return the errors that the page has reported: exceptions and ``console.error``."""
        self._connection.command('session.status')  # all earlier events have been received
        return [
            str(event['params']['text'])
            for event in self._connection.events
            if event.get('method') == 'log.entryAdded' and event['params']['level'] == 'error'
        ]


def _address(profile: Path) -> str | None:
    """Return the address on which Firefox listens, which it writes to its profile."""
    with suppress(OSError, ValueError, KeyError):
        found = json.loads((profile / 'WebDriverBiDiServer.json').read_text(encoding='ascii'))
        return f'ws://{found["ws_host"]}:{found["ws_port"]}/session'
    return None


@contextmanager
def firefox(
    executable: str,
    log: Path,
    *,
    preferences: Mapping[str, object] | None = None,
    environment: dict[str, str] | None = None,
    arguments: Sequence[str] = (),
) -> Iterator[FirefoxPage]:
    """
    Start a separate Firefox with one page.

    :param log: File for its output.
    """
    with tempfile.TemporaryDirectory(prefix='firefox') as folder, log.open('wb') as output:
        profile = Path(folder)
        lines = [
            f'user_pref({json.dumps(name)}, {json.dumps(value)});\n'
            for name, value in {**PREFERENCES, **(preferences or {})}.items()
        ]
        (profile / 'user.js').write_text(''.join(lines), encoding='ascii')
        process = subprocess.Popen(
            [
                executable,
                '--headless',
                '--no-remote',
                *('--profile', folder),
                *('--remote-debugging-port', '0'),
                *arguments,
            ],
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
        )
        try:
            address = wait_for(
                lambda: _address(profile) or process.poll(), timeout_s=START_S, what='Firefox'
            )
            assert process.poll() is None, f'Firefox has ended: {log.read_text(errors="replace")}'
            with closing(_Connection(str(address))) as connection:
                connection.command('session.new', capabilities={})
                contexts = connection.command('browsingContext.getTree')['contexts']
                yield FirefoxPage(connection, str(contexts[0]['context']))
                with suppress(BidiError, aiohttp.ClientError, TypeError):
                    connection.command('browser.close')
        finally:
            process.terminate()
            try:
                process.wait(END_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
