"""A directory of one machine is refused where work runs on several."""

import pytest

from heliostat._shared_directory import check_shared

MOUNTS = """\
/dev/sda1 / ext4 rw 0 0
server:/x /mnt/team\\040share nfs4 rw 0 0
tmpfs /mnt/team\\040share/own tmpfs rw 0 0
weka /data wekafs rw 0 0
"""


def nodes(*addresses: str) -> list[dict[str, object]]:
    return [{"NodeManagerAddress": address, "Alive": True} for address in addresses]


@pytest.mark.parametrize("path", ["/home/me/ray_results", "/mnt", "/mnt/team share/own/runs"])
def test_a_disk_of_one_machine_is_refused_on_several_with_what_to_give(path: str) -> None:
    with pytest.raises(ValueError, match=rf"storage_path='{path}'.*2 machines.*s3://"):
        check_shared("storage_path", path, nodes("a", "b"), MOUNTS)


@pytest.mark.parametrize("path", ["/mnt/team share/runs", "/mnt/team share", "/data/x"])
def test_what_may_be_shared_is_taken(path: str) -> None:
    check_shared("storage_path", path, nodes("a", "b"), MOUNTS)


def test_one_machine_needs_nothing_shared_however_many_nodes_it_has() -> None:
    dead = {"NodeManagerAddress": "b", "Alive": False}
    check_shared("storage_path", "/home/me", [*nodes("a", "a"), dead], MOUNTS)


def test_this_machines_own_table_is_read() -> None:
    check_shared("storage_path", "/proc/self", nodes("a", "b"))
