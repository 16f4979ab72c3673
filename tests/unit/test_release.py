"""What ``make dist`` says of a release; the target itself builds one."""

import configparser
import io
import tarfile
from itertools import pairwise

import pytest

from release import audit, build, constraints, sbom
from release.failure import ReleaseFailed
from release.source import ROOT, Source

SOURCE = Source(files=(), commit="c0ffee", epoch=1_767_225_600, changed=0)
HASH = "0123456789abcdef" * 4
PINNED = f"pika==1.4.4 \\\n    --hash=sha256:{HASH} \\\n    --hash=sha256:{HASH[::-1]}\n"
FOR_WINDOWS = f"colorama==0.4.6 ; sys_platform == 'win32' \\\n    --hash=sha256:{HASH}\n"


def test_the_pinned_packages_are_read_with_the_hashes_of_their_files():
    pins = constraints.parse("# a comment\n" + PINNED + FOR_WINDOWS)
    assert pins == {"pika==1.4.4": [HASH, HASH[::-1]], "colorama==0.4.6": [HASH]}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "pika==1.4.4\n",
        PINNED.replace("==", ">="),
        PINNED.replace("sha256", "md5"),
        "--index-url x\n" + PINNED,
    ],
)
def test_a_package_without_one_version_and_its_hashes_ends_the_release(text):
    with pytest.raises(ReleaseFailed, match="pin"):
        constraints.parse(text)


def test_a_package_is_marked_with_the_extras_that_need_it_and_with_none_if_everybody_does():
    both = f"idna==3.20 \\\n    --hash=sha256:{HASH}\n"
    alone = {"otel": {"pika==1.4.4", "idna==3.20"}, "audit": {"pika==1.4.4", "idna==3.20", "colorama==0.4.6"}}
    made = constraints.marked(PINNED + FOR_WINDOWS + both, {"pika==1.4.4"}, alone)
    above = {after: line for line, after in pairwise(made.splitlines()) if line.startswith("#")}
    assert {after.split("==")[0]: line for after, line in above.items()} == {
        "colorama": "# extra: audit", "idna": "# extra: audit, otel",
    }  # fmt: skip
    assert constraints.parse(made) == constraints.parse(PINNED + FOR_WINDOWS + both)


def test_every_extra_of_production_can_be_chosen():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    for_work = {"bench", "dev", "docs", "fuzz", "release"}
    assert set(setup["options.extras_require"]) - for_work == set(constraints.EXTRAS)


def packed(path, *, at, owner, names):
    with tarfile.open(path, "w:gz") as archive:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size, member.mtime, member.uname, member.uid = len(name), at, owner, at % 1000
            archive.addfile(member, io.BytesIO(name.encode()))
    return path


def test_two_source_archives_of_the_same_files_have_the_same_bytes(tmp_path):
    names = ["ordermq/a.py", "ordermq/b.py"]
    one = build.normalised(packed(tmp_path / "1.gz", at=1, owner="root", names=names), SOURCE.epoch)
    two = build.normalised(packed(tmp_path / "2.gz", at=2, owner="ci", names=names[::-1]), SOURCE.epoch)
    assert one == two
    with tarfile.open(fileobj=io.BytesIO(one)) as archive:
        assert [archive.extractfile(each).read().decode() for each in archive] == names


def test_a_known_vulnerability_ends_the_release_with_its_name():
    bug = {"id": "PYSEC-2026-1", "fix_versions": ["2.1"]}
    report = {"dependencies": [{"name": "click", "version": "2.0", "vulns": [bug]}]}
    with pytest.raises(ReleaseFailed, match=r"click 2\.0: PYSEC-2026-1, fixed in 2\.1"):
        audit.answer(report)


def test_a_package_that_could_not_be_looked_up_is_said_not_to_be_audited():
    asked = {"name": "pika", "version": "1.4.4", "vulns": []}
    clean = audit.answer({"dependencies": [asked]})
    assert not clean.is_missing
    assert str(clean) == "1 packages, no vulnerability is known"
    missing = audit.answer({"dependencies": [asked, {"name": "click", "skip_reason": "no such package"}]})
    assert missing.is_missing
    assert str(missing).startswith("NOT AUDITED: 1 of 2 packages could not be looked up (no such package)")


def test_the_bill_of_materials_is_of_ordermq_and_does_not_name_the_machine_that_made_it():
    folder = {"type": "distribution", "url": "file:///home/me/dist/ordermq.whl"}
    made = {
        "metadata": {},
        "components": [
            {"name": "ordermq", "version": "0.1.0", "type": "library", "externalReferences": [folder]},
            {"name": "pika", "version": "1.4.4", "type": "library"},
        ],
    }
    bill = sbom.completed(made, {"ordermq-0.1.0-py3-none-any.whl": HASH, "constraints.txt": HASH}, SOURCE)
    assert [each["name"] for each in bill["components"]] == ["pika"]
    root = bill["metadata"]["component"]
    assert (root["type"], root["hashes"]) == ("application", [{"alg": "SHA-256", "content": HASH}])
    assert bill["metadata"]["timestamp"] == "2026-01-01T00:00:00Z"
    assert "file://" not in str(bill)


def test_a_release_is_made_of_what_git_knows():
    source = Source.of_checkout()
    assert {"setup.cfg", "ordermq/__init__.py", "release/source.py"} <= set(source.files)
    assert not [name for name in source.files if name.startswith((".venv", "dist/", "build/"))]
    assert all((ROOT / name).is_file() for name in source.files)
