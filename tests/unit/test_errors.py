"""The error tree and its exit statuses."""

from __future__ import annotations

import inspect

from vmjitter import errors


def _classes() -> list[type[errors.VmjitterError]]:
    return [
        member
        for _, member in inspect.getmembers(errors, inspect.isclass)
        if issubclass(member, errors.VmjitterError)
    ]


def test_every_class_stands_in_the_drawing_of_the_tree() -> None:
    drawing = errors.__doc__ or ""
    assert [c.__name__ for c in _classes() if c.__name__ not in drawing] == []


def test_statuses_of_results_are_not_used_by_errors() -> None:
    # 0 and 3 are verdicts, 4 is for measurements that must not be used
    statuses = {c.__name__: c.exit_status for c in _classes()}
    assert set(statuses.values()) == {1, 2, 4, 130}
    assert [name for name, status in statuses.items() if status == 4] == ["MeasurementInvalid"]
