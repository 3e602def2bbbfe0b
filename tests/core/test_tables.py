"""Tables as text: aligned for terminals, escaped in Markdown."""

from RobustART.core.tables import markdown_table, text_table


def test_a_table_for_a_terminal_is_aligned():
    text = text_table(["name", "value"], [["a", "1.50"], ["longer", "10"]])
    assert text.splitlines() == ["name    value", "-------------", "a        1.50", "longer     10"]
    assert text_table(["name", "value"], []).splitlines() == ["name  value", "-----------"]


def test_a_table_in_markdown_holds_any_string():
    lines = markdown_table(["", "value"], [["a|b\nc", "-1.0"], ["007", ""]]).splitlines()
    assert lines[0] == "|  | value |"
    assert set(lines[1]) == {"|", "-"}
    assert lines[2:] == ["| a\\|b c | -1.0 |", "| 007 |  |"]
