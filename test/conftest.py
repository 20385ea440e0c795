"""Set-up of all tests: the environment of the processes that they start, and CI's strictness."""

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

from collections.abc import Iterator
import contextlib
import gc
import os
from pathlib import Path
import shutil
import signal
from typing import Any

from child_processes import ChildProcesses, REAL_PROGRAMS
import pytest
from ros_domain import DOMAINS, next_domain

# Imported now because its plug-in would import it after the last test: CPython 3.11 can no longer
# parse source in a process in which threads have failed to do so (python/cpython#106905).
with contextlib.suppress(ImportError):
    import hypothesis

    # On a busy machine, examples are slow but not wrong.
    hypothesis.settings.register_profile(
        'patient',
        hypothesis.settings(),
        deadline=None,
        suppress_health_check=[hypothesis.HealthCheck.too_slow],
    )
    hypothesis.settings.load_profile('patient')

ROOT = Path(__file__).resolve().parent.parent
#: Markers of tests that need something that not every machine has; in CI they must run.
REQUIRED_BY_CI = ('browser', 'namespace', 'systemd')
#: Number of lines of each program's log that are shown when a test fails.
LOG_LINES = 40
PROGRAM_LOGS = pytest.StashKey[Path]()
#: Folder whose tests run one after the other, in parallel with other tests.
ONE_AFTER_THE_OTHER = 'test/e2e/'
#: Folders with the slowest tests, the slowest first.
SLOW_FOLDERS = ('e2e', 'integration', 'benchmark', 'style')
#: A profile of Fast DDS.
PARTICIPANTS_APART = """<?xml version="1.0" encoding="UTF-8"?>
<dds xmlns="http://www.eprosima.com">
  <library_settings>
    <intraprocess_delivery>OFF</intraprocess_delivery>
  </library_settings>
</dds>
"""
BROWSERS = ('chromium', 'google-chrome', 'google-chrome-stable', 'chromium-browser')
FIREFOXES = ('firefox-esr', 'firefox')


def pytest_configure(config: pytest.Config) -> None:
    if _is_ci() and not config.pluginmanager.hasplugin('rerunfailures'):
        raise pytest.UsageError(
            'CI=true needs pytest-rerunfailures: pip install -r requirements-dev.txt'
        )
    config.pluginmanager.register(ChildProcesses())
    # nohup ignores SIGHUP, and the programs under test would inherit that.
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    # Off by default; without this check, rclpy sends an integer in a float field as 5e-324.
    os.environ.setdefault('ROS_PYTHON_CHECK_FIELDS', '1')
    # Isolated from other robots, including those of other test runs on this machine.
    os.environ.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    os.environ.setdefault('ROS_DOMAIN_ID', str(1 + os.getpid() % DOMAINS))
    os.environ.setdefault('ROS_LOG_DIR', str(ROOT / 'build' / 'ros_log'))
    # The tests start the programs of this tree.
    inherited = os.environ.get('PYTHONPATH')
    os.environ['PYTHONPATH'] = os.pathsep.join([str(ROOT), *([inherited] if inherited else [])])


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> object:
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        """Gives each worker whole modules, whose tests share programs."""

        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition('::')[0]
            # Two cores cannot supply two browsers with pictures at the same time.
            return ONE_AFTER_THE_OTHER if file.startswith(ONE_AFTER_THE_OTHER) else file

    # The slowest tests start first, so that the workers end at about the same time.
    config.option.loadscopereorder = False
    return ByFile(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if hasattr(config, 'workerinput'):
        items.sort(key=_turn)
    # A shared CI machine may stall for a while. scripts/test names the repeated tests at its end;
    # more than two such tests fail the run.
    for item in items:
        if _is_ci() and item.get_closest_marker(REAL_PROGRAMS):
            item.add_marker(pytest.mark.flaky(reruns=1))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    # A report parses source. If a failed task were collected meanwhile, its traceback would parse
    # source too, and CPython 3.11 would raise SystemError (python/cpython#106905).
    gc.disable()
    try:
        report = yield
    finally:
        gc.enable()
    if report.skipped and not hasattr(report, 'wasxfail') and _is_ci():
        markers = [name for name in REQUIRED_BY_CI if item.get_closest_marker(name)]
        if markers:
            _fail(report, f'marked {", ".join(markers)}')
    folder = item.config.stash.get(PROGRAM_LOGS, None)
    if report.failed and folder is not None:
        report.sections += _program_logs(folder, report.start)
    return report


def _turn(item: pytest.Item) -> int:
    """Return the rank by which tests start when several run at the same time."""
    folder = item.path.relative_to(ROOT / 'test').parts[0]
    if folder in SLOW_FOLDERS:
        return SLOW_FOLDERS.index(folder)
    return len(SLOW_FOLDERS) + (item.get_closest_marker(REAL_PROGRAMS) is None)


def _program_logs(folder: Path, since_s: float) -> list[tuple[str, str]]:
    """Return what the programs logged during a failed test: in CI, nothing else is kept."""
    found = []
    for log in sorted(folder.rglob('*.log')):
        # A program that is still running may delete its files.
        with contextlib.suppress(OSError):
            if log.stat().st_mtime >= since_s:
                lines = log.read_text(errors='replace').splitlines()
                found.append((str(log.relative_to(folder)), '\n'.join(lines[-LOG_LINES:])))
    return found


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show why a test was repeated, like a failure."""
    for report in terminalreporter.getreports('rerun'):
        terminalreporter.section(f'run once more: {report.nodeid}')
        terminalreporter.line(report.longreprtext)
        for title, text in report.sections:
            terminalreporter.section(title, sep='-')
            terminalreporter.line(text)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Iterator[None]:
    # A module that skips itself as a whole has no items with markers.
    report = yield
    if report.skipped and _is_ci():
        _fail(report, 'a whole module')
    return report


def _is_ci() -> bool:
    return os.environ.get('CI', '').lower() in ('1', 'true')


def _fail(report: pytest.TestReport | pytest.CollectReport, what: str) -> None:
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
    report.outcome = 'failed'
    report.longrepr = f'{what}, so it must run where CI=true: {reason}'


@pytest.fixture(scope='session', autouse=True)
def program_logs(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Note the folder below which programs write their ``.log`` files."""
    pytestconfig.stash[PROGRAM_LOGS] = tmp_path_factory.getbasetemp()


@pytest.fixture(scope='session', autouse=True)
def participants_apart(tmp_path_factory: pytest.TempPathFactory) -> None:
    """
    Let the DDS participants of this process talk like those of different processes.

    Fast DDS has a shortcut between participants of one process. Where they come and go, it loses
    endpoints: a subscription is known to its publisher, does not know it, and stays deaf.
    """
    from ros_probe import ros_node

    profile = tmp_path_factory.mktemp('dds') / 'participants_apart.xml'
    profile.write_text(PARTICIPANTS_APART)
    # Fast DDS reads it when the first participant is created, and not again. The programs that the
    # tests start have one participant each.
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('FASTDDS_DEFAULT_PROFILES_FILE', str(profile))
        with ros_node('first_participant'):
            pass


@pytest.fixture(scope='module', autouse=True)
def ros_domain() -> None:
    """
    Give each module its own ROS domain.

    Tests kill programs. Others may keep writing to the shared memory of a killed program
    (eProsima/Fast-DDS pull request 4737), so that the next program on its port does not hear them.
    """
    os.environ['ROS_DOMAIN_ID'] = str(next_domain(int(os.environ['ROS_DOMAIN_ID'])))


@pytest.fixture(scope='session')
def chromium_path() -> str:
    """Return the browser that scripts/test has found, or one from the PATH."""
    for name in filter(None, (os.environ.get('CHROMIUM'), *BROWSERS)):
        if path := shutil.which(name):
            return path
    pytest.skip('no Chromium; set the variable CHROMIUM')


@pytest.fixture(scope='session')
def firefox_path() -> str:
    """Return the Firefox that scripts/test has found, or one from the PATH."""
    for name in filter(None, (os.environ.get('FIREFOX'), *FIREFOXES)):
        if path := shutil.which(name):
            return path
    pytest.skip('no Firefox; set the variable FIREFOX')
