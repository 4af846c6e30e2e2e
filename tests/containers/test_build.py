"""containers/build.sh: what it keeps an image under, what it refuses and how, and that a cut build leaves nothing."""

import hashlib
import json

import pytest


def test_the_hash_is_of_the_definition_and_the_locks(host):
    expected = hashlib.sha256(b"".join((host.root / name).read_bytes() for name in host.inputs)).hexdigest()[:16]
    assert host.hash() == expected
    for name in host.inputs:
        before = host.hash()
        with open(host.root / name, "a") as file:
            file.write("# another\n")
        assert host.hash() != before


def test_an_image_is_built_once_and_told_of(host):
    status, output = host.build("--link", "results/pipeline.sif")
    assert status == 0, output
    assert "base: the public image debian@sha256:" in output
    (image,) = host.images()
    assert image.name == f"pipeline-{host.hash()}.sif"
    assert (host.root / "results/pipeline.sif").resolve() == image
    for about in (image.with_name(image.name + ".json"), host.root / "results/pipeline.sif.json"):
        digest = hashlib.sha256(image.read_bytes()).hexdigest()
        facts = json.loads(about.read_text())
        assert facts["sha256"] == digest and facts["inputs"] == host.hash() and "debian@sha256:" in facts["base"]
    assert not any(host.root.glob("containers/images/.build-*/"))

    status, output = host.build("--link", "elsewhere/pipeline.sif")
    assert status == 0 and "is there" in output
    assert host.builds() == 1


def test_images_are_kept_where_the_user_says(host, tmp_path):
    status, output = host.build("--link", "results/pipeline.sif", GILLNEXT_IMAGES=str(tmp_path / "my images"))
    assert status == 0, output
    assert host.images() == []
    assert (host.root / "results/pipeline.sif").resolve().parent == tmp_path / "my images"


def test_a_changed_lock_is_another_image_beside_the_first(host):
    assert host.build()[0] == 0
    with open(host.root / "envs/pipeline.txt", "a") as lock:
        lock.write("# another\n")
    assert host.build()[0] == 0
    assert host.builds() == 2 and len(host.images()) == 2


def test_a_build_that_loses_its_network_leaves_nothing_to_be_used(host):
    status, output = host.build("--link", "results/pipeline.sif", FAKE_FAILURE="connection reset by peer")
    assert status == 2
    assert "connection reset by peer" in output and "remedy: " in output
    assert host.images() == [] and not (host.root / "results").exists()
    assert host.build()[0] == 0
    assert len(host.images()) == 1


def test_a_killed_build_leaves_nothing_to_be_used_and_the_next_one_goes_on(host):
    host.kill(host.building(seconds=30))
    assert host.images() == []
    status, output = host.build()
    assert status == 0, output
    assert host.images()[0].read_text().strip() == host.hash()


@pytest.mark.parametrize("killed", [False, True])
def test_one_build_at_a_time_and_what_outlives_a_killed_script_is_waited_for(host, killed):
    process = host.building(seconds=30)
    if killed:
        process.kill()
        process.wait()
    status, output = host.build()
    host.kill(process)
    assert status == 2 and "another build is under way" in output and "remedy: wait" in output


def test_an_image_of_the_checkout_is_found_from_any_folder(host, tmp_path):
    assert host.build()[0] == 0
    status, output = host.build("--link", "results/pipeline.sif", cwd=tmp_path)
    assert status == 0 and host.builds() == 1, output
    assert (tmp_path / "results/pipeline.sif").resolve() == host.images()[0]


def test_a_damaged_image_is_told(host):
    assert host.build()[0] == 0
    host.images()[0].write_text("")
    status, output = host.build()
    assert status == 2 and "locks that it does not tell" in output and "remedy: remove" in output


def test_an_image_of_other_locks_is_refused(host):
    assert host.build(FAKE_INPUTS="0123456789abcdef")[0] == 0  # as a copy under a wrong name would be
    status, output = host.build("--link", "results/pipeline.sif")
    assert status == 2
    assert "0123456789abcdef" in output and host.hash() in output and "remedy: remove" in output
    assert not (host.root / "results").exists()


def no_apptainer(host):
    host.remove("apptainer")


def no_namespaces(host):
    host.program("unshare", "#!/bin/sh\nexit 1\n")


def no_range(host):
    host.program("grep", "#!/bin/sh\nexit 1\n")


def no_uidmap(host):
    host.remove("newuidmap")


def full_disk(host):
    host.environment["GILLNEXT_BUILD_GIB"] = str(10**9)


def no_registry(host):
    host.environment["FAKE_REGISTRY"] = ""


def no_mmdebstrap(host):
    host.environment["FAKE_REGISTRY"] = ""
    host.program("mksquashfs", "#!/bin/sh\n")


def no_place(host):
    host.environment["GILLNEXT_IMAGES"] = "/proc/images"


@pytest.mark.parametrize(
    ("lack", "message"),
    [
        (no_apptainer, ["no apptainer", "containers/install-apptainer.sh", "make paper"]),
        (no_namespaces, ["forbids user namespaces", "user.max_user_namespaces", "apptainer-suid"]),
        (no_range, ["no range of user ids", "usermod --add-subuids"]),
        (no_uidmap, ["no range of user ids", "apt install uidmap"]),
        (full_disk, ["GiB free, a build needs 1000000000", "APPTAINER_TMPDIR="]),
        (no_mmdebstrap, ["no public base image", "apt install mmdebstrap"]),
        (no_place, ["/proc/images has no image", "cannot be written to", "GILLNEXT_IMAGES="]),
        (no_registry, ["no route to host", "no public base image", "apt install mmdebstrap"]),
    ],
)
def test_what_a_host_lacks_is_told_with_its_remedy(host, lack, message):
    lack(host)
    status, output = host.build()
    assert status == 2
    assert all(part in output for part in [*message, "remedy: "]), output
    assert host.images() == []


@pytest.mark.parametrize(("lack", "status"), [(no_apptainer, 2), (no_namespaces, 2), (no_range, 0)])
def test_check_asks_for_what_running_needs_and_no_more(host, lack, status):
    assert host.build("--check")[0] == 0
    lack(host)
    assert host.build("--check")[0] == status


def test_unknown_arguments_are_refused_and_help_is_given(host):
    assert host.build("--bse", "debian")[0] == 2
    assert host.build("--base", "alpine")[0] == 2
    status, output = host.build("--help")
    assert status == 0 and "--base debian" in output and "GILLNEXT_IMAGES" in output
