"""Which code made a number."""

import subprocess
from pathlib import Path

import fewshot


def git_state() -> tuple[str, bool | None]:
    """Commit of the checkout that fewshot runs from, and whether files differ from it; ("", None) outside one."""
    checkout = Path(fewshot.__file__).resolve().parent.parent
    if not (checkout / ".git").exists():
        return "", None
    try:
        commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=checkout, capture_output=True, text=True, timeout=10)
        status = subprocess.run(
            ["git", "status", "--porcelain"], cwd=checkout, capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return "", None
    if commit.returncode:
        return "", None
    return commit.stdout.strip(), bool(status.stdout.strip()) if status.returncode == 0 else None
