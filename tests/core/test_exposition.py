"""Prometheus' text format, whatever is in a label."""

from hids.core.exposition import text


def test_rows_of_a_name_stand_together_with_their_help_once():
    rows = [
        ("a_total", "What a is.", {"x": "1"}, 5),
        ("b", "What b is.", {}, 1.5),
        ("a_total", "What a is.", {"x": 'say "no"\\\n'}, 6),
    ]
    assert text(rows) == (
        "# HELP a_total What a is.\n# TYPE a_total counter\n"
        'a_total{x="1"} 5\na_total{x="say \\"no\\"\\\\\\n"} 6\n'
        "# HELP b What b is.\n# TYPE b gauge\nb{} 1.5\n"
    )
