"""What came and left is matched: the same file at another path has moved."""

from hids.agent.news import MAX_WAITING, Change, News
from hids.agent.observe import Known
from hids.messages.syscheck import FileFact


def known(path: str, inode: int, **facts: object) -> Known:
    return Known(FileFact(path=path, seen="live", inode=inode, **({"sha256": "aa"} | facts)), 1)  # type: ignore[arg-type]


def told(news: News) -> list[tuple[str, str, bool, str]]:
    """(path, moved from, gone, seen) of each fact."""
    return [
        (change.fact.path, change.fact.moved_from, change.fact.gone, change.fact.seen)
        for group in news.changes()
        for change in group
        if change.fact is not None
    ]


def test_the_same_inode_and_content_is_a_move():
    news = News("live")
    news.left("/a", "x", known("/a/x", 7))
    news.came("/b", "y", known("/b/y", 7))
    assert told(news) == [("/b/y", "/a/x", False, "live")]
    (group,) = news.changes()
    assert [(change.directory, change.name, change.known is None) for change in group] == [
        ("/b", "y", False),
        ("/a", "x", True),
    ]


def test_an_inode_that_was_used_again_is_no_move():
    news = News("scan")
    news.left("/a", "x", known("/a/x", 7))
    news.came("/b", "y", known("/b/y", 7, sha256="bb"))
    assert told(news) == [("/b/y", "", False, "live"), ("/a/x", "", True, "scan")]


def test_links_are_compared_by_where_they_point():
    news = News("live")
    news.left("/a", "x", known("/a/x", 7, kind="link", sha256="", target="t"))
    news.left("/a", "z", known("/a/z", 8, kind="link", sha256="", target="t"))
    news.came("/b", "y", known("/b/y", 7, kind="link", sha256="", target="t"))
    news.came("/b", "w", known("/b/w", 8, kind="link", sha256="", target="other"))
    assert ("/b/y", "/a/x", False, "live") in told(news)
    assert ("/b/w", "", False, "live") in told(news)


def test_one_of_two_names_that_left_is_enough():
    news = News("live")
    news.left("/a", "x", known("/a/x", 7))
    news.left("/a", "z", known("/a/z", 7))
    news.came("/b", "y", known("/b/y", 7))
    assert sum(bool(moved) for _, moved, _, _ in told(news)) == 1
    assert sum(gone for _, _, gone, _ in told(news)) == 1


def test_what_is_in_a_moved_directory_is_no_news_of_its_own():
    news = News("live")
    directory = {"kind": "dir", "sha256": ""}
    for name, path, inode, facts in (
        ("one", "/w/one", 1, directory),
        ("in", "/w/one/in", 2, directory),
        ("f", "/w/one/in/f", 3, {}),
        ("g", "/w/one/in/g", 4, {}),
    ):
        news.left(path.rpartition("/")[0], name, known(path, inode, **facts))
        other = path.replace("/one", "/two").replace("/g", "/h")
        news.came(other.rpartition("/")[0], other.rpartition("/")[2], known(other, inode, **facts))
    assert set(told(news)) == {
        ("/w/two", "/w/one", False, "live"),
        ("/w/two/in", "/w/one/in", False, "baseline"),
        ("/w/two/in/f", "/w/one/in/f", False, "baseline"),
        ("/w/two/in/h", "/w/one/in/g", False, "live"),
    }


def test_a_directory_goes_after_what_was_in_it():
    news = News("scan")
    news.left("/w", "d", known("/w/d", 1, kind="dir"))
    news.left("/w/d", "f", known("/w/d/f", 2))
    news.left("/w/d/e", "g", known("/w/d/e/g", 3))
    news.left("/w/d", "e", known("/w/d/e", 4, kind="dir"))
    paths = [path for path, _, _, _ in told(news)]
    assert paths.index("/w/d/e/g") < paths.index("/w/d/e") < paths.index("/w/d")
    assert paths.index("/w/d/f") < paths.index("/w/d")
    assert set(news.gone_directories()) == {"/w/d", "/w/d/e"}


def test_new_files_that_are_not_to_be_told_are_recorded():
    news = News("live", tells_new=False)
    news.came("/b", "y", known("/b/y", 7))
    news.changed(Change("/b", "z", known("/b/z", 8), known("/b/z", 8).fact))
    assert set(told(news)) == {("/b/y", "", False, "baseline"), ("/b/z", "", False, "live")}


def test_room():
    news = News("live")
    assert news.has_room(MAX_WAITING)
    news.came("/b", "y", known("/b/y", 7))
    assert news.has_room()
    assert not news.has_room(MAX_WAITING)
