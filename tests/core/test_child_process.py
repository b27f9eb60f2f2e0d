"""Modules as programs: found where this process finds them, out of reach of the user's files."""

import os
import subprocess

from llmctl.core.child_process import start_module


def said_by(module, *arguments, **options):
    child = start_module(module, *arguments, stdout=subprocess.PIPE, **options)
    return child.communicate()[0].decode().splitlines(), child


def test_a_child_knows_its_modules_arguments_and_variables():
    said, child = said_by("child_program", 7, "诗", environment={"COLOUR": "green"})

    assert child.returncode == 0
    assert said[:2] == ["7 诗", "green"]


def test_a_child_is_in_a_group_of_its_own():
    said, child = said_by("child_program")

    assert said[2] == str(child.pid) != str(os.getpgrp())


def test_files_in_the_working_directory_are_no_modules(tmp_path, monkeypatch):
    (tmp_path / "textwrap.py").write_text("raise SystemExit('taken')")
    monkeypatch.chdir(tmp_path)

    said, child = said_by("child_program")

    assert child.returncode == 0
    assert said[3] == "sound"
