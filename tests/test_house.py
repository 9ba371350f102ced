"""The rules of the house: names, docstrings, imports, types."""

from __future__ import annotations

import ast
from collections import defaultdict
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("oip", "mi", "models", "gallery")
PRIVATE_NOUNS = frozenset(
    (
        *("told", "found", "one", "asked", "known", "wanted", "held", "dear", "seen", "heard"),
        *("again", "words", "apart", "others", "place", "places"),
        *("what", "which", "why", "there", "here", "mine", "each", "some", "many", "nothing"),
        *("everything", "everyone", "never", "still", "even", "sure", "say", "gone", "wrong"),
        *("back", "began"),
    )
)
"""Words that say nothing of what a variable holds."""
PRODUCT_NOUNS = PRIVATE_NOUNS | {
    *("more", "rest", "both", "far", "near", "alike", "outside", "lost", "picked", "former")
}
"""The same for the product; in a short test they can be plain."""
MOST_ANY = 200
MOST_FILES, MOST_LINES = 210, 650
"""Files of the product; lines of a file: one concept fills one."""


@cache
def modules() -> dict[str, tuple[Path, ast.Module]]:
    """Module name -> file and syntax tree of every module of the product."""
    trees = {}
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*.py")):
            relative = path.relative_to(ROOT)
            if relative.parts[0] == "oip" and relative.parts[1] in ROOMS:
                continue  # a symbolic link to a room that is read as itself
            name = ".".join(relative.with_suffix("").parts).removesuffix(".__init__")
            name = name if relative.parts[0] == "oip" else f"oip.{name}"
            trees[name] = (relative, ast.parse(path.read_text(encoding="utf-8")))
    return trees


@cache
def trees_of_tests() -> dict[Path, ast.Module]:
    """File and syntax tree of every module of the tests."""
    paths = sorted((ROOT / "tests").rglob("*.py"))
    return {path.relative_to(ROOT): ast.parse(path.read_text(encoding="utf-8")) for path in paths}


def names_bound(tree: ast.Module):
    """Yield line and name of everything that a module binds."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.lineno, node.name
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.attr
        elif isinstance(node, ast.alias) and node.asname:
            yield node.lineno, node.asname
        elif isinstance(node, ast.ExceptHandler) and node.name:
            yield node.lineno, node.name


def test_there_are_few_files_and_none_is_long():
    lines = {path: (ROOT / path).read_text("utf-8").count("\n") for path, _ in modules().values()}
    assert len(lines) <= MOST_FILES
    long = {str(path): count for path, count in lines.items() if count > MOST_LINES}
    assert not long, long


def test_variables_are_called_by_the_noun_they_hold():
    violations = [
        f"{path}:{line}: {name}"
        for nouns, files in (
            (PRODUCT_NOUNS, modules().values()),
            (PRIVATE_NOUNS, trees_of_tests().items()),
        )
        for path, tree in files
        for line, name in names_bound(tree)
        if name.lstrip("_") in nouns
    ]
    assert not violations, "\n".join(violations)


PREPOSITIONS = frozenset(
    (
        *("of", "in", "by", "on", "at", "over", "about", "after", "before", "within", "without"),
        *("along", "around", "through", "since", "under", "between", "against"),
    )
)
"""A function is called by a verb or by what it returns, not by what it is about."""


def test_private_functions_are_not_called_by_a_preposition():
    violations = [
        f"{path}:{node.lineno}: {node.name}"
        for path, tree in modules().values()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef)
        and node.name.startswith("_")
        and node.name.lstrip("_").split("_")[0] in PREPOSITIONS
    ]
    assert not violations, "\n".join(violations)


def test_no_docstring_is_a_riddle():
    violations = []
    for path, tree in modules().values():
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                text = ast.get_docstring(node)
                if text and text.split()[0] == "What":
                    violations.append(
                        f"{path}:{getattr(node, 'lineno', 1)}: {text.splitlines()[0]}"
                    )
    assert not violations, "\n".join(violations)


RIDDLES = ("what there is", "as ever", "what one would", "wished", "Every so many")
"""Phrases of docstrings that no colleague would say."""


def test_docstrings_are_plain():
    violations = []
    for path, tree in modules().values():
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                text = " ".join((ast.get_docstring(node) or "").split())
                violations += [f"{path}: {phrase}" for phrase in RIDDLES if phrase in text]
    assert not violations, "\n".join(violations)


def test_no_class_name_means_two_things():
    homes = defaultdict(list)
    for path, tree in modules().values():
        for node in tree.body:
            if isinstance(node, ast.ClassDef):
                homes[node.name].append(str(path))
    assert not {name: paths for name, paths in homes.items() if len(paths) > 1}


def test_no_public_function_name_means_two_things():
    homes = defaultdict(list)
    for path, tree in modules().values():
        for node in tree.body:
            public = isinstance(node, ast.FunctionDef) and not node.name.startswith("_")
            if public and str(path) not in homes[node.name]:  # overloads stand in one file
                homes[node.name].append(str(path))
    shared = {"command", "main", "run", "build"}  # of each command, program, study, package
    twice = {name: p for name, p in homes.items() if len(p) > 1 and name not in shared}
    assert not twice


def imports() -> dict[str, set[str]]:
    """Module -> modules of the product that it imports, anywhere in it and for types, too."""
    trees = modules()
    edges: dict[str, set[str]] = {name: set() for name in trees}
    for name, (_, tree) in trees.items():
        for node in ast.walk(tree):
            targets = []
            if isinstance(node, ast.Import):
                targets = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                for alias in node.names:
                    inner = f"{node.module}.{alias.name}"
                    targets.append(inner if inner in trees else node.module)
            edges[name].update(target for target in targets if target in trees and target != name)
    return edges


def circles(edges: dict[str, set[str]]) -> list[list[str]]:
    """Strongly connected components of more than one module (Tarjan's algorithm)."""
    order: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    components = []

    def visit(name: str) -> None:
        order[name] = lowest[name] = len(order)
        stack.append(name)
        for target in edges[name]:
            if target not in order:
                visit(target)
                lowest[name] = min(lowest[name], lowest[target])
            elif target in stack:
                lowest[name] = min(lowest[name], order[target])
        if lowest[name] == order[name]:
            component = []
            while not component or component[-1] != name:
                component.append(stack.pop())
            if len(component) > 1:
                components.append(sorted(component))

    for name in edges:
        if name not in order:
            visit(name)
    return components


def test_imports_run_in_no_circle():
    assert circles(imports()) == []


@pytest.mark.parametrize(
    ("edges", "expected"),
    [
        ({"a": {"b"}, "b": {"c"}, "c": set()}, []),
        ({"a": {"b"}, "b": {"a"}, "c": {"a"}}, [["a", "b"]]),
        ({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}, [["a", "b", "c"]]),
    ],
)
def test_circles_are_seen(edges, expected):
    assert circles(edges) == expected


def test_nothing_but_the_program_imports_the_command_line():
    users = {
        name
        for name, targets in imports().items()
        if any(target.startswith("oip.cli") for target in targets)
    }
    assert {name for name in users if not name.startswith("oip.cli")} <= {"oip.__main__"}


def test_private_names_stay_in_their_module():
    violations = [
        f"{path}:{node.lineno}: {alias.name}"
        for path, tree in modules().values()
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("oip")
        for alias in node.names
        if alias.name.startswith("_") and not alias.name.startswith("__")
    ]
    assert not violations, "\n".join(violations)


def test_few_values_are_of_any_type():
    count = sum(
        isinstance(node, ast.Name) and node.id == "Any"
        for _, tree in modules().values()
        for node in ast.walk(tree)
    )
    assert count < MOST_ANY


def test_tests_bind_no_private_names():
    violations = []
    for path, tree in trees_of_tests().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "setattr":
                texts = [a.value for a in node.args[:2] if isinstance(a, ast.Constant)]
                for text in texts:
                    last = str(text).rpartition(".")[2]
                    if last.startswith("_") and not last.startswith("__"):
                        violations.append(f"{path}:{node.lineno}: {text}")
    assert not violations, "\n".join(violations)
