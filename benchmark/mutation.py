"""
Mutation test of the gate's tests: ``python3 -m benchmark.mutation``.

Changes one thing at a time in the modules that decide about motion (a comparison, a sign, a
number by a tenth, a statement removed, …) and runs their tests, the fastest first, until one
fails. A mutant that no test detects has survived: it is printed, and either a test is missing or
the change has no effect. Exit status 1 unless each survivor is one of ``EQUIVALENT``.
It takes about an hour of CPU time; ``--only SUBSTRING`` selects mutants by name.
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

import argparse
import ast
from collections.abc import Callable, Iterator
import copy
from dataclasses import dataclass
import itertools
import os
from pathlib import Path
import resource
import sys
import time
from types import FunctionType
from typing import Any, Final, TextIO

import hypothesis
import pytest

ROOT: Final = Path(__file__).resolve().parents[1]
PACKAGE: Final = 'teleop_webrtc_bridge.core.motion'
MODULES: Final = ('velocity_limits', 'freshness', 'command_gate')
TESTS: Final = (
    'test/core/motion/test_velocity_limits.py',
    'test/core/motion/test_freshness.py',
    'test/core/motion/gate',
)
EQUIVALENT: Final = frozenset(
    {
        # Where the product is zero, one of its factors is zero, and so is the result.
        'velocity_limits: magnitude = abs(present) if present * wanted > 0.0 else 0.0 → '
        'magnitude = abs(present) if present * wanted >= 0.0 else 0.0',
        # Without time and limit the step is NaN; min() then returns its first argument.
        'velocity_limits: return _velocity((limit_rise(now, then, acceleration * step_s if '
        'acceleration < math.inf else math.inf) for now, then, acceleration in zip('
        'present.axes(), wanted.axes(), self.max_acceleration, strict=True))) → '
        'return _velocity((limit_rise(now, then, acceleration * step_s) for now, then, '
        'acceleration in zip(present.axes(), wanted.axes(), self.max_acceleration, strict=True)))',
        # Equal: every number except NaN is at most infinity, and no limit is NaN.
        'velocity_limits: return _velocity((limit_rise(now, then, acceleration * step_s if '
        'acceleration < math.inf else math.inf) for now, then, acceleration in zip('
        'present.axes(), wanted.axes(), self.max_acceleration, strict=True))) → '
        'return _velocity((limit_rise(now, then, acceleration * step_s if acceleration <= '
        'math.inf else math.inf) for now, then, acceleration in zip(present.axes(), '
        'wanted.axes(), self.max_acceleration, strict=True)))',
        # A jump is further from every remembered delay than they are from each other.
        'freshness: return CommandVerdict.STALE if jumped and delay > self._delays[0][1] else '
        'CommandVerdict.OUT_OF_ORDER → return CommandVerdict.STALE if jumped and delay > '
        'self._delays[-1][1] else CommandVerdict.OUT_OF_ORDER',
        'freshness: return CommandVerdict.STALE if jumped and delay > self._delays[0][1] else '
        'CommandVerdict.OUT_OF_ORDER → return CommandVerdict.STALE if jumped and delay >= '
        'self._delays[0][1] else CommandVerdict.OUT_OF_ORDER',
        # The next command, whatever it is, is neither late nor a jump, and clears them.
        'freshness: self._witnesses.clear() → pass',
        # Of two equal delays, the later one is sufficient.
        'freshness: while self._delays and self._delays[-1][1] >= delay: → '
        'while self._delays and self._delays[-1][1] > delay:',
        # Each of these is set again before it is read.
        'command_gate: self._next_zero_s = 0.0 → pass',
        'command_gate: self._next_zero_s = 0.0 → self._next_zero_s = 0.001',
        'command_gate: self._heard_neutral = True → self._heard_neutral = False',
        'command_gate: self._heard_neutral = True → pass',
        'command_gate: self._wanted = ZERO → pass',
        'command_gate: self._last_verdict = CommandVerdict.ACCEPTED → pass',
        # Without arming, both variants keep the gate unarmed.
        'command_gate: self._heard_s = None → pass',
        # A stop sets it again before it is read; in motion it is always None.
        'command_gate: self._burst_until_s = None → pass',
        'command_gate: if self.moving or self._burst_until_s is None: → '
        'if self._burst_until_s is None:',
        # In output(): _stop() has set it to the same time or earlier.
        'command_gate: self._next_zero_s = now → pass',
        # It is only compared with much longer times.
        'command_gate: gap_s = 0.0 if self._heard_s is None else now - self._heard_s → '
        'gap_s = 0.001 if self._heard_s is None else now - self._heard_s',
    }
)
"""Mutants that behave like the original, and why."""
CPU_S: Final = 90
"""Several times the CPU time of all these tests: a mutant that needs more hangs: detected."""
MEMORY_BYTES: Final = 4 * 2**30

COMPARISONS: Final[dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
ARITHMETIC: Final[dict[type[ast.operator], type[ast.operator]]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
}
CALLS: Final = {'min': 'max', 'max': 'min', 'any': 'all', 'all': 'any'}


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """One change to one module."""

    module: str
    line: int
    before: str
    after: str
    tree: ast.Module

    @property
    def name(self) -> str:
        return f'{self.module}: {self.before} → {self.after}'


# --- changes ---------------------------------------------------------------------------------


def mutants(module: str) -> Iterator[Mutant]:
    """Yield every change of a module."""
    source = ROOT.joinpath(*PACKAGE.split('.'), f'{module}.py').read_text(encoding='utf-8')
    original = ast.parse(source)
    nodes = list(ast.walk(original))
    meant = ast.dump(_without_annotations(original))
    idle = set(_idle(original))
    statements = dict(_statements(original, nodes.index))
    for number, node in enumerate(nodes):
        for index in range(0 if node in idle else len(list(_changes(node)))):
            tree = copy.deepcopy(original)
            twins = list(ast.walk(tree))
            twin = twins[number]
            new = list(_changes(twin))[index]()
            if new is not twin:
                _replace(tree, twin, new)
            ast.fix_missing_locations(tree)
            if ast.dump(_without_annotations(tree)) == meant:
                continue
            line, before = statements[node]
            after = new if isinstance(new, ast.Pass) else twins[before]
            yield Mutant(
                module=module,
                line=getattr(node, 'lineno', line),
                before=_text(nodes[before]),
                after=_text(after),
                tree=tree,
            )


def _statements(
    node: ast.AST, index: Callable[[ast.AST], int], line: int = 0, number: int = 0
) -> Iterator[tuple[ast.AST, tuple[int, int]]]:
    """Yield each node with the line and number of the innermost statement that contains it."""
    if isinstance(node, ast.stmt):
        line, number = node.lineno, index(node)
    yield node, (line, number)
    for child in ast.iter_child_nodes(node):
        yield from _statements(child, index, line, number)


def _idle(tree: ast.Module) -> Iterator[ast.AST]:
    """Yield nodes without effect: exported names, class decorators, final returns."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == '__all__':
            yield node
        elif isinstance(node, ast.FunctionDef) and ast.unparse(node.body[-1]) == 'return None':
            # As the last statement it has no effect.
            yield node.body[-1]
        elif isinstance(node, ast.ClassDef):
            for decorator in node.decorator_list:
                yield from ast.walk(decorator)
            # The members of an enumeration: without one of them, its users fail at once.
            yield from (it for it in node.body if isinstance(it, ast.Assign))


def _changes(node: ast.AST) -> Iterator[Callable[[], ast.AST]]:
    """Yield the possible changes of a node: each changes it in place or returns another one."""
    match node:
        case ast.Compare(ops=operators):
            for at, operator in enumerate(operators):
                for other in COMPARISONS[type(operator)]:
                    changed = [*operators[:at], other(), *operators[at + 1 :]]
                    yield lambda changed=changed: _set(node, ops=changed)  # type: ignore[misc]
        case ast.BoolOp(values=values):
            other_op = ast.Or if isinstance(node.op, ast.And) else ast.And
            yield lambda: _set(node, op=other_op())
            for index in range(len(values)):
                rest = [value for at, value in enumerate(values) if at != index]
                yield lambda rest=rest: (  # type: ignore[misc]
                    _set(node, values=rest) if len(rest) > 1 else rest[0]
                )
        case ast.UnaryOp(op=ast.Not() | ast.USub(), operand=operand):
            yield lambda: operand
        case ast.BinOp(op=operator) if type(operator) in ARITHMETIC:
            yield lambda: _set(node, op=ARITHMETIC[type(operator)]())
        case ast.Constant(value=value):
            for figure in _figures(value):
                yield lambda figure=figure: _set(node, value=figure)  # type: ignore[misc]
        case ast.Call(func=ast.Name(id=name)) if name in CALLS:
            yield lambda: _set(node, func=ast.Name(id=CALLS[name], ctx=ast.Load()))
        case ast.IfExp():
            yield lambda: node.body
            yield lambda: node.orelse
        case ast.If():
            for test in (True, False):
                yield lambda test=test: _set(node, test=ast.Constant(test))  # type: ignore[misc]
        case ast.Assign() | ast.AugAssign() | ast.Return() | ast.Continue() | ast.Break():
            yield ast.Pass
        case ast.Expr(value=ast.Call()):
            yield ast.Pass


def _figures(value: object) -> Iterator[object]:
    match value:
        case bool():
            yield not value
        case int():
            yield value + 1
            yield value - 1
        case float() if value:
            # Only a little: any test would detect twice the value.
            yield value * 1.1
            yield value * 0.9
        case float():
            yield 1e-3


def _set(node: ast.AST, **fields: object) -> ast.AST:
    for name, value in fields.items():
        setattr(node, name, value)
    return node


def _replace(tree: ast.AST, old: ast.AST, new: ast.AST) -> None:
    for parent in ast.walk(tree):
        for name, value in ast.iter_fields(parent):
            if value is old:
                setattr(parent, name, new)
            elif isinstance(value, list):
                setattr(parent, name, [new if item is old else item for item in value])


def _without_annotations(tree: ast.Module) -> ast.Module:
    """Return a module's code without annotations and docstrings, which are never evaluated."""
    bare = copy.deepcopy(tree)
    for node in ast.walk(bare):
        if isinstance(node, ast.AnnAssign):
            node.annotation = ast.Constant(None)
        elif isinstance(node, ast.FunctionDef):
            node.returns = None
        elif isinstance(node, ast.arg):
            node.annotation = None
    return bare


def _text(node: ast.AST) -> str:
    """Return a statement in one line; of a compound statement, only its head."""
    return ast.unparse(node).splitlines()[0]


# --- tests -----------------------------------------------------------------------------------


class Judge:
    """
    A pytest plug-in that runs the collected tests on one mutant after another.

    Each run has its own forked process, so that a mutant cannot affect the next one.

    :param chosen: The mutants.
    :param out: Where to report them; pytest captures standard output.
    """

    def __init__(self, chosen: Iterator[Mutant], out: TextIO) -> None:
        self.survivors: list[Mutant] = []
        self.judged = 0
        self._chosen = chosen
        self._out = out

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        began_s = time.monotonic()
        times_s = self._times_s(session.items)
        items = sorted(session.items, key=lambda item: times_s[item.nodeid])
        for mutant in self._chosen:
            self.judged += 1
            if _forked(lambda mutant=mutant: _test(mutant, items)) == 0:  # type: ignore[misc]
                self.survivors.append(mutant)
                self._tell(f'{mutant.line}: survived: {mutant.name}')
            if self.judged % 50 == 0:
                self._tell(f'{self.judged}, {time.monotonic() - began_s:.0f} s')
        return True

    def _times_s(self, items: list[pytest.Item]) -> dict[str, float]:
        """Run the tests once on the unchanged modules; return how long each takes."""
        reader, writer = os.pipe()

        def measure() -> int:
            with os.fdopen(writer, 'w') as answer:
                for item in items:
                    start_s = time.process_time()
                    if not _passes(item):
                        return 1
                    print(time.process_time() - start_s, file=answer)
            return 0

        status = _forked(measure)
        os.close(writer)
        with os.fdopen(reader) as answer:
            times_s = list(map(float, answer))
        if status:
            sys.exit(f'fails without any mutation: {items[len(times_s)].nodeid}')
        return {item.nodeid: took_s for item, took_s in zip(items, times_s, strict=True)}

    def _tell(self, text: str) -> None:
        print(text, file=self._out, flush=True)


def _forked(run: Callable[[], int]) -> int:
    """Run a function in a forked process; return its status, where non-zero is a failure."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            status = run()
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _test(mutant: Mutant, items: list[pytest.Item]) -> int:
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    _apply(mutant)
    return 0 if all(map(_passes, items)) else 1


def _passes(item: pytest.Item) -> bool:
    item.config.hook.pytest_runtest_protocol(item=item, nextitem=None)
    return item.session.testsfailed == 0


def _apply(mutant: Mutant) -> None:
    """Put the changed code into the module that others have already imported."""
    name = f'{PACKAGE}.{mutant.module}'
    module = sys.modules[name]
    changed: dict[str, Any] = {'__name__': name}
    exec(compile(mutant.tree, f'{mutant.module}.py', 'exec'), changed)
    for key, new in changed.items():
        old = getattr(module, key, None)
        if isinstance(new, type) and new.__module__ == name:
            for attribute, value in vars(new).items():
                _swap(vars(old).get(attribute), value)
        elif isinstance(new, FunctionType) and new.__module__ == name:
            _swap(old, new)
        elif not key.startswith('__'):
            setattr(module, key, new)


def _swap(old: object, new: object) -> None:
    if isinstance(new, property):
        assert isinstance(old, property)
        old, new = old.fget, new.fget
    if isinstance(new, FunctionType):
        assert isinstance(old, FunctionType)
        old.__code__ = new.__code__
        old.__defaults__ = new.__defaults__
        old.__kwdefaults__ = new.__kwdefaults__


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument('--only', default='', help='only mutants whose name contains this')
    parser.add_argument('--every', type=int, default=1, help='only every N-th mutant (1)')
    parser.add_argument(
        '--list', action='store_true', help='list the mutants without running them'
    )
    options = parser.parse_args()
    matching = (it for module in MODULES for it in mutants(module) if options.only in it.name)
    chosen = itertools.islice(matching, 0, None, options.every)
    if options.list:
        for mutant in chosen:
            print(f'{mutant.line}: {mutant.name}')
        return
    os.chdir(ROOT)
    # Use the tests' small profile, whatever the environment selects.
    for name in ('CI', 'HYPOTHESIS_PROFILE'):
        os.environ.pop(name, None)
    # A failing example need not be shrunk, and must not be stored for the next mutant.
    hypothesis.settings.register_profile(
        'mutation',
        phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],
        database=None,
        derandomize=True,
        deadline=None,
    )
    hypothesis.settings.load_profile('mutation')
    judge = Judge(chosen, os.fdopen(os.dup(1), 'w'))
    plugins = ['cacheprovider', 'cov', 'terminal', 'faulthandler']
    arguments = [word for name in plugins for word in ('-p', f'no:{name}')]
    arguments += ['--timeout', '0', '-W', 'ignore::pytest.PytestAssertRewriteWarning', *TESTS]
    pytest.main(arguments, plugins=[judge])
    unknown = [it for it in judge.survivors if it.name not in EQUIVALENT]
    killed = judge.judged - len(judge.survivors)
    equivalent = len(judge.survivors) - len(unknown)
    print(f'mutants={judge.judged} killed={killed} equivalent={equivalent} missed={len(unknown)}')
    sys.exit(1 if unknown or not judge.judged else 0)


if __name__ == '__main__':
    main()
