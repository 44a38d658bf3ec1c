"""The house: a room imports only from floors below, and only through the room's face."""

import ast
import builtins
import importlib
import pkgutil
import subprocess
import symtable
import sys
from pathlib import Path

import pytest

import merganser

FLOORS = {
    "weights": 0,
    "merging": 1,
    "models": 2,
    "evaluation": 3,
    "comparison": 4,
    "evolution": 4,
    "adaptation": 5,
    "thinking": 5,
    "routing": 6,
    "decision": 7,
    "run": 7,
    "interop": 7,
    "report": 8,
    "cli": 9,
}
SOURCE = Path(merganser.__file__).parent
ROOMS = sorted(p.name for p in SOURCE.iterdir() if p.is_dir() and (p / "__init__.py").is_file())
FILES = sorted(SOURCE.glob("*/**/*.py"))


def imports_of(file):
    """Modules a file imports, wherever in it, as (module, names)."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom):
            yield node.module or "", [a.name for a in node.names]
        elif isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, []


def names_written_in(file):
    """Names that a module defines or assigns; what it imports from others is not among them."""
    kinds = (ast.FunctionDef, ast.ClassDef)
    tree = ast.parse(file.read_text())
    stored = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    return stored | {n.name for n in ast.walk(tree) if isinstance(n, kinds)}


def scopes_of(scope):
    """A module's scope and all within it: classes, functions, comprehensions."""
    yield scope
    for inner in scope.get_children():
        yield from scopes_of(inner)


def test_every_room_has_a_floor():
    assert set(ROOMS) <= set(FLOORS)


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(SOURCE)))
def test_a_room_imports_only_from_floors_below_and_through_the_face(file):
    room = file.relative_to(SOURCE).parts[0]
    for module, names in imports_of(file):
        parts = module.split(".")
        if parts[0] != "merganser" or len(parts) == 1:
            assert not (parts == ["merganser"] and set(names) & set(FLOORS)), (
                f"{file}: import the room's names instead"
            )
            continue
        other = parts[1]
        if other == room or other.startswith("_"):
            continue
        assert FLOORS[other] < FLOORS[room], f"{room} (floor {FLOORS[room]}) imports {module}"
        private = [part for part in parts if part.startswith("_")]
        assert not private, f"{file} reaches into {module}; import from the face of {other}"


def test_a_name_is_imported_from_where_it_is_written():
    modules = {".".join(f.relative_to(SOURCE.parent).with_suffix("").parts): f for f in SOURCE.rglob("_*.py")}
    written = {module: names_written_in(file) for module, file in modules.items()}
    for file in SOURCE.rglob("*.py"):
        for module, names in imports_of(file):
            if module in written:
                assert set(names) <= written[module], f"{file} imports {names} from {module}"


@pytest.mark.parametrize("file", sorted(SOURCE.rglob("*.py")), ids=lambda f: str(f.relative_to(SOURCE)))
def test_every_name_that_code_uses_is_there(file):
    """Linters do not look: to them the letters of a shape are undefined names."""
    module = symtable.symtable(file.read_text(), str(file), "exec")
    there = {s.get_name() for s in module.get_symbols() if s.is_assigned() or s.is_imported()}
    for scope in scopes_of(module):
        used = {s.get_name() for s in scope.get_symbols() if s.is_referenced() and not s.is_local()}
        free = {s.get_name() for s in scope.get_symbols() if s.is_free()}
        assert used - free <= there | set(dir(builtins)) | {"__file__", "__name__"}, scope.get_name()


def test_evolution_knows_no_torch_no_disk_and_no_clock():
    forbidden = {"torch", "pathlib", "os", "io", "shutil", "time", "datetime", "sqlite3", "tempfile"}
    for file in (SOURCE / "evolution").glob("*.py"):
        assert not forbidden & {module.split(".")[0] for module, _ in imports_of(file)}, file


@pytest.mark.parametrize("room", ROOMS)
def test_the_face_of_a_room_names_what_it_exports(room):
    module = importlib.import_module(f"merganser.{room}")
    assert module.__doc__
    assert module.__all__ == sorted(module.__all__, key=_as_ruff_sorts)
    for name in module.__all__:
        assert hasattr(module, name)


def test_every_public_name_of_the_package_can_be_had():
    for name in merganser.__all__:
        assert getattr(merganser, name) is not None
    assert set(merganser.__all__) <= set(dir(merganser))
    with pytest.raises(AttributeError, match="no attribute 'ducks'"):
        merganser.ducks  # noqa: B018


def test_importing_the_package_is_light():
    code = "import sys, merganser; print([m for m in ('torch', 'numpy', 'pydantic', 'altair') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_evolving_from_scratch_needs_neither_torch_nor_pictures():
    code = "import sys, merganser.run; print([m for m in ('torch', 'sklearn', 'altair', 'cma') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_module_says_what_it_is():
    for info in pkgutil.walk_packages(merganser.__path__, "merganser."):
        path = Path(importlib.util.find_spec(info.name).origin)
        assert ast.get_docstring(ast.parse(path.read_text())), info.name


def _as_ruff_sorts(name):
    kind = 0 if name.isupper() else 1 if name[0].isupper() else 2
    return kind, name
