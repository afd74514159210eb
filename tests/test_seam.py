"""What is CUDA's own stands in few files: the facts without torch, the seam, and the capture of steps."""

import ast

from bench.plan.checkout import ROOMS, ROOT

THEIRS = {"bench/plan/machine.py", "bench/train/device.py", "bench/train/graph.py"}


def of_cuda(source: str) -> set[str]:
    """Where a source names or calls the device. torch.backends, whose switches every torch has, is none of it."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            if node.value == "cuda" or node.value.startswith("cuda:") or '"cuda"' in node.value:
                found.add("the name")
        elif isinstance(node, ast.Attribute):
            whole = ast.unparse(node)
            if whole in ("torch.cuda", "ProfilerActivity.CUDA") or whole.startswith("torch._C._cuda"):
                found.add(whole)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            modules = [each.name for each in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            found |= {"torch.cuda" for module in modules if module.startswith("torch.cuda")}
    return found


def test_only_the_seam_knows_the_device() -> None:
    files = [file for room in ROOMS for file in sorted((ROOT / room).rglob("*.py"))]
    named = {file.relative_to(ROOT).as_posix(): of_cuda(file.read_text(encoding="utf-8")) for file in files}
    assert {name: found for name, found in named.items() if found and name not in THEIRS} == {}
    assert all(named[name] for name in THEIRS)


def test_what_is_outside_the_seam_is_seen() -> None:
    assert of_cuda("if device == 'cuda':\n    torch.cuda.synchronize()\n") == {"the name", "torch.cuda"}
    assert of_cuda('def f():\n    """device: "cpu" or "cuda"."""\n') == {"the name"}
    assert of_cuda("from torch.cuda import Stream\nprofile([ProfilerActivity.CUDA])\n") == {
        "torch.cuda", "ProfilerActivity.CUDA"
    }  # fmt: skip
    assert of_cuda("torch.backends.cuda.matmul\n'says CUDA in words'\nmodels.settings\n") == set()
