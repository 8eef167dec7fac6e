"""Write the Python stubs beside each .proto, or check that they are what the .proto files say.

python scripts/generate.py            write
python scripts/generate.py --check    exit 1 when a stub is missing, stale or left over
python scripts/generate.py --release  also write proto/released.binpb: breaking is measured against it
"""

import argparse
import importlib.resources
import subprocess
import sys
import tempfile
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent
PROTO = ROOT / "proto"
GENERATED = ("*_pb2.py", "*_pb2.pyi", "*_pb2_grpc.py", "*_pb2_grpc.pyi", "__init__.py", "py.typed")


def generate(out: Path) -> None:
    """Compile every .proto of the contract into `out`, with the packages that hold the stubs."""
    sources = sorted(PROTO.rglob("*.proto"))
    well_known = importlib.resources.files("grpc_tools") / "_proto"
    tools = Path(sys.executable).parent
    services = [str(s) for s in sources if s.stem.endswith("_service")]
    common = ["protoc", f"-I{PROTO}", f"-I{well_known}"]
    run(
        [
            *common,
            f"--plugin=protoc-gen-mypy={tools / 'protoc-gen-mypy'}",
            f"--python_out={out}",
            f"--mypy_out={out}",
            *map(str, sources),
        ]
    )
    run(
        [
            *common,
            f"--plugin=protoc-gen-mypy_grpc={tools / 'protoc-gen-mypy_grpc'}",
            f"--grpc_python_out={out}",
            f"--mypy_grpc_out={out}",
            *services,
        ]
    )
    for folder in sorted({s.parent.relative_to(PROTO) for s in sources}):
        for package in [folder, *folder.parents][:-1]:
            (out / package / "__init__.py").touch()
    (out / "bourse" / "py.typed").touch()


def run(arguments: list[str]) -> None:
    """Run protoc in this process; leave with its message when it refuses."""
    if protoc.main(arguments) != 0:
        sys.exit("protoc refused the contract; its message stands above")


def stubs(folder: Path) -> dict[Path, bytes]:
    """Every generated file below `folder`, by its path inside it."""
    found = {path for pattern in GENERATED for path in (folder / "bourse").rglob(pattern)}
    return {path.relative_to(folder): path.read_bytes() for path in sorted(found)}


def main() -> None:
    """Write or check, as the arguments say."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--release", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        fresh_root = Path(scratch)
        generate(fresh_root)
        fresh, committed = stubs(fresh_root), stubs(PROTO)
    if options.check:
        wrong = sorted(
            path for path in fresh.keys() | committed.keys() if fresh.get(path) != committed.get(path)
        )
        if wrong:
            sys.exit(
                "stubs are not what the contract says; run `make generate`:\n" + "\n".join(map(str, wrong))
            )
        return
    for path in committed.keys() - fresh.keys():
        (PROTO / path).unlink()
    for path, content in fresh.items():
        (PROTO / path).write_bytes(content)
    if options.release:
        buf = Path(sys.executable).parent / "buf"
        subprocess.run([buf, "build", "-o", "proto/released.binpb"], cwd=ROOT, check=True)


if __name__ == "__main__":
    main()
