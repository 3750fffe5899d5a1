"""A command line that makes no sense is answered with what there is."""

import pytest

from heliostat.cli import main


def refused(capsys, *words):
    with pytest.raises(SystemExit) as ended:
        main(list(words))
    assert ended.value.code == 2
    return capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "one"), [((), "doctor"), (("serve",), "deploy"), (("tune",), "gc")]
)
def test_without_a_command_the_commands_are_told_and_nothing_is_an_error(capsys, words, one):
    told = refused(capsys, *words)
    assert told.startswith("usage: heliostat")
    assert f"\n    {one} " in told
    assert "required" not in told


def test_a_misspelt_command_is_met_with_the_one_that_was_meant(capsys):
    told = refused(capsys, "lst", "tasks")
    assert told == (
        "heliostat: there is no command 'lst'; did you mean 'list'? `heliostat --help` has them all\n"
    )
    told = refused(capsys, "tune", "xyz")
    assert told == (
        "heliostat tune: there is no verb 'xyz'; `heliostat tune --help` has them all\n"
    )


def test_what_is_missing_is_said_with_what_it_may_be(capsys):
    told = refused(capsys, "list")
    assert "tasks, actors, objects, workers" in told
    assert told.endswith("\nheliostat list: KIND is missing\n")
    assert refused(capsys, "run").endswith("\nheliostat run: TARGET is missing\n")
    assert refused(capsys, "serve", "run").endswith(": CONFIG_OR_IMPORT_PATH is missing\n")


def test_an_option_that_is_none_is_refused_with_those_there_are(capsys):
    told = refused(capsys, "list", "tasks", "--nope")
    assert told.startswith("usage: heliostat list")
    assert "--nope" in told
