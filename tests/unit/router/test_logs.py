"""Log lines: one event a line, whatever is in it."""

import json
import logging

from weave.logs import JsonFormatter, RateLimit, TextFormatter, fields


def record(message, **values):
    made = logging.LogRecord("weave.test", logging.INFO, __file__, 1, message, (), None)
    made.__dict__.update(fields(**values))
    return made


def test_text_quotes_what_would_break_the_line():
    line = TextFormatter().format(record("it happened", peer="a", reason='two words\nand "more"'))
    assert line.count("\n") == 0
    assert line.endswith(r'peer=a reason="two words\nand \"more\""')


def test_json_is_one_object():
    event = json.loads(JsonFormatter().format(record("it happened", peer="a")))
    assert (event["event"], event["peer"], event["level"]) == ("it happened", "a", "info")


def test_what_repeats_is_held_back_and_counted():
    limit = RateLimit(burst=2, interval_s=10)
    assert [limit.admit("x", now) for now in (0, 1, 2, 3)] == [0, 0, None, None]
    assert limit.admit("y", 3) == 0
    assert limit.admit("x", 11) == 2
