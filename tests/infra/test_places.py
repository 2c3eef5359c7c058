"""Where an archive lies: one suite over both kinds of places, and what a store says when it is away or says no."""

import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from infra.archive_uri import checked, place
from infra.errors import ArchiveAway, DaogouError, Refused, SettingWrong
from infra.places import Folder, Place, Store, place_of
from infra.settings import Settings, read_settings
from infra.store_errors import ours
from tests.stores import KEYS, QUICK, Server, running

NAME = "day=2026-05-01/a%2Fb c@0.1-2@3.4-4.parquet"


def names(found: Any) -> list[str]:
    return sorted(file.base_name for file in found)


def content(at: Place, name: str) -> bytes:
    folder, _, base = name.rpartition("/")
    [file] = [one for one in (at / folder if folder else at).files() if one.base_name == base]
    with at.told(), at.open(file.path) as stream:
        found: bytes = stream.read()
    assert at.size(file.path) == file.size == len(found)
    return found


def test_what_is_put_is_there_under_its_name(at: Place) -> None:
    at.put(NAME, b"abc")
    assert content(at, NAME) == b"abc"
    [file] = at.inside(lambda name: name == "day=2026-05-01")
    assert file.base_name == NAME.rpartition("/")[2]
    assert list(at.inside(lambda name: name == "day=2026-05-02")) == []


def test_a_file_takes_the_place_of_one_of_its_name(at: Place) -> None:
    (at / "order").put("1.json", b"one")
    (at / "order").put("1.json", b"two, and longer")
    assert content(at, "order/1.json") == b"two, and longer"


def test_large_files_are_whole(at: Place) -> None:
    """Larger than a part of an upload."""
    large = bytes(range(256)) * 50_000
    at.put("day=1/large", large)
    assert content(at, "day=1/large") == large


def test_only_the_folders_and_depth_asked_for(at: Place) -> None:
    for name in ("top", "a/1", "a/deeper/2", "b/3", "catalogue/a/4"):
        at.put(name, b"x")
    assert names(at.files()) == ["top"]
    assert names(at.inside(lambda name: name != "catalogue")) == ["1", "3"]
    assert names((at / "catalogue").inside(lambda _: True)) == ["4"]
    assert names((at / "a").files()) == ["1"]


def test_a_place_that_is_not_there_is_empty(at: Place) -> None:
    assert (at / "nothing").files() == []
    assert list((at / "nothing").inside(lambda _: True)) == []


def test_a_probe_finds_that_it_can_be_used(at: Place) -> None:
    at.put("day=1/a", b"x")
    at.probe()
    at.probe()
    assert names(at.inside(lambda _: True)) == ["a"]


def test_a_folder_that_cannot_be_used_names_the_setting(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(SettingWrong, match=r"DAOGOU_ARCHIVE: nothing can be kept in .*file.* \(Not a directory\)"):
        Folder(tmp_path / "file" / "below").probe()


def all_of(at: Place) -> Iterator[Callable[[], object]]:
    """Everything that asks the store."""
    yield at.files
    yield lambda: list(at.inside(lambda _: True))
    yield lambda: at.put("day=1/x", b"abc")
    yield at.probe


@pytest.fixture
def own() -> Iterator[Server]:
    """A server that a test may stop, and the keys for it."""
    with running() as server:
        yield server


def test_a_bucket_that_is_not_there_is_named(store: Server) -> None:
    for call in all_of(store.place("never-made")):
        with pytest.raises(Refused, match="DAOGOU_ARCHIVE: the bucket of s3://never-made/shop/default does not") as no:
            call()
        assert no.value.reason == "archive_no_bucket"


def test_a_server_that_is_away_is_away(own: Server) -> None:
    at = own.place()
    at.put("day=1/y", b"abc")
    [file] = at.inside(lambda _: True)
    own.stop()
    for call in (*all_of(at), lambda: at.open(file.path), lambda: at.size(file.path)):
        with pytest.raises(ArchiveAway, match=r"DAOGOU_ARCHIVE: s3://.*/shop/default does not answer .NETWORK"):
            call()
    own.start()
    assert content(at, "day=1/y") == b"abc"


def test_a_server_that_takes_requests_and_answers_none_is_away() -> None:
    """Bounded by the seconds that a request may stand still, times the attempts."""
    with socket.create_server(("127.0.0.1", 0)) as mute:
        taken = []
        ended = threading.Event()

        def take() -> None:
            while not ended.is_set():
                taken.append(mute.accept()[0])

        threading.Thread(target=take, daemon=True).start()
        uri = f"s3://some-bucket?scheme=http&endpoint_override=127.0.0.1:{mute.getsockname()[1]}&region=us-east-1"
        with pytest.raises(ArchiveAway, match="does not answer"):
            place(checked(uri), Path("/nowhere"), "default", QUICK).files()
        ended.set()
        for connection in taken:
            connection.close()


def test_keys_that_are_refused_are_named_and_not_shown(own: Server) -> None:
    at = own.place()
    own.refuse_keys()
    try:
        for call in all_of(at):
            with pytest.raises(Refused, match=r"DAOGOU_ARCHIVE: s3://.* may not be used .*AWS_ACCESS_KEY_ID") as no:
                call()
            assert no.value.reason == "archive_denied"
            assert KEYS["AWS_SECRET_ACCESS_KEY"] not in no.value.message
    finally:
        own.take_any_keys()


def test_an_upload_that_was_not_completed_is_not_there(store: Server) -> None:
    """What a process leaves that dies while it uploads: no name, no bytes, and the next one is not in its way."""
    bucket = store.make()
    at, client = store.place(bucket), store.client()
    key = f"shop/default/{NAME}"
    begun = client.create_multipart_upload(Bucket=bucket, Key=key)
    client.upload_part(Bucket=bucket, Key=key, UploadId=begun["UploadId"], PartNumber=1, Body=b"half")
    assert list(at.inside(lambda _: True)) == []
    at.put(NAME, b"whole")
    assert content(at, NAME) == b"whole"


@pytest.mark.parametrize(
    ("said", "error", "reason"),
    [
        ("AWS Error SLOW_DOWN during PutObject operation: x", ArchiveAway, "archive_away"),
        ("AWS Error UNKNOWN (HTTP status 503) during PutObject operation", ArchiveAway, "archive_away"),
        ("AWS Error NO_SUCH_BUCKET during PutObject", Refused, "archive_no_bucket"),
        ("AWS Error ACCESS_DENIED during HeadBucket operation: No response body.", Refused, "archive_denied"),
        ("AWS Error UNKNOWN (HTTP status 400) during X: ExceptionName: ExpiredToken M", Refused, "archive_denied"),
        ("AWS Error UNKNOWN (HTTP status 301) during ListObjectsV2 operation", Refused, "archive_refused"),
    ],
)  # fmt: skip
def test_each_word_of_a_store_has_its_error(said: str, error: type[DaogouError], reason: str) -> None:
    found = ours(f"When doing it: {said}", "s3://b/c")
    assert isinstance(found, error)
    assert found.reason == reason
    assert found.retryable == (reason == "archive_away")


def test_what_is_no_word_of_a_store_stays_what_it_is(at: Place) -> None:
    assert ours("No space left on device", "x") is None
    with pytest.raises(OSError, match="its own"), at.told():
        raise OSError("its own")


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("s3://key:word@bucket/x", "keys do not belong in it: set AWS_ACCESS_KEY_ID"),
        ("s3://bucket/x?secret_key=word", "only endpoint_override"),
        ("s3://bucket/x?endpoint_override=word@h:1", "only endpoint_override"),
        ("s3://bucket?scheme=ftp", "only endpoint_override"),
        ("s3://bucket?", ""),
        ("s3://bucket/x?region", "only endpoint_override"),
        ("s3:///x", "name of a bucket"),
        ("s3://B_/x", "name of a bucket"),
        ("s3://bucket/a/../b", "leads elsewhere"),
        ("s3://bucket/a//b", "empty part"),
        ("s3://bucket/a#b", "neither"),
        ("gs://bucket/x", "neither file:///folder nor s3://"),
        ("/data/archive", "neither"),
        ("file://host/x", "absolute path"),
        ("file:///", "absolute path"),
        ("file:///x?y=1", "absolute path"),
        ("s3://bucket#word", "neither"),
        ("s3:key:word/bucket", "name of a bucket"),
        ("s3://key:word%40bucket/x", "name of a bucket"),
        ("s3://[word]/x", "neither"),
        ("file:///data/..%2F..%2Fword", "leads elsewhere"),
        ("s3://bucket/a%2F..%2Fword", "leads elsewhere"),
        ("s3://bucket/a%2F%2Fb", "empty part"),
        ("s3://bucket/x?region=eu&region=us", "each option once"),
    ],
)
def test_a_wrong_uri_says_why_and_shows_no_key(uri: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAOGOU_ARCHIVE", uri)
    if not said:
        assert read_settings().archive == uri
        return
    with pytest.raises(SettingWrong, match=f"DAOGOU_ARCHIVE = .*{said}.* Allowed: where the archive lies") as wrong:
        read_settings()
    assert wrong.value.path == "archive"
    assert "word" not in wrong.value.message


def test_where_the_archive_lies_by_the_setting(tmp_path: Path) -> None:
    here = Settings(data_dir=tmp_path, tenant="shop-2", archive="")
    assert here.archive_at.folder == here.archive_dir == tmp_path / "archive" / "shop-2"
    named = Settings(data_dir=tmp_path, archive=f"file://{tmp_path}/a%20b/")
    assert named.archive_at.folder == tmp_path / "a b" / "default"
    far = Settings(archive="s3://bucket/some/prefix?region=eu-central-1").archive_at
    assert (far.folder, str(far)) == (None, "s3://bucket/some/prefix/default")
    assert str(Settings(archive="s3://bucket").archive_at / "catalogue") == "s3://bucket/default/catalogue"
    assert isinstance(place_of(far), Store)
    assert place_of("/x").folder == Path("/x")
