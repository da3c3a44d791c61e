# SPDX-License-Identifier: Apache-2.0
import subprocess
import sys

from imkd_core.resources import bundles, share_folder


def test_the_source_tree_is_found():
    folder = share_folder()
    assert (folder / "config" / "imkd_tiny.yaml").is_file()
    assert (folder / "package.xml").is_file()


def test_bundles_are_folders_with_a_manifest():
    assert all((path / "bundle.json").is_file() for path in bundles())


def test_an_installation_is_found_through_the_prefix_and_its_absence_is_said(tmp_path):
    """The package copied alone, without the source tree around it, as an installation has it."""
    site = tmp_path / "site" / "imkd_core"
    site.mkdir(parents=True)
    source = share_folder() / "imkd_core"
    for name in ("__init__.py", "resources.py", "errors.py"):
        (site / name).write_bytes((source / name).read_bytes())
    share = tmp_path / "prefix" / "share" / "imkd_ros"
    (share / "config").mkdir(parents=True)
    (share / "package.xml").write_text("<package/>")
    program = "from imkd_core.resources import share_folder; print(share_folder())"
    base = [sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, {str(site.parent)!r}); "]
    # sys.prefix is pointed away, for the test's own environment may hold an installation
    base[-1] += f"sys.prefix = {str(tmp_path)!r}; "
    command = [*base[:-1], base[-1] + program]
    found = subprocess.run(
        command,
        env={"AMENT_PREFIX_PATH": str(tmp_path / "prefix")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.strip() == str(share)
    absent = subprocess.run(command, env={}, capture_output=True, text=True, check=False)
    assert absent.returncode != 0
    assert "not installed" in absent.stderr
