from orchestrator.report.outputs import _published
from workloads.published import published


def test_published_shares_are_shown_in_percent_and_others_as_they_are() -> None:
    rows = {
        name: _published([row for row in published() if row.workload == name])
        for name in ("cifar10-lt-200", "agedb-dir")
    }
    head, _, softmax, *_ = rows["cifar10-lt-200"].splitlines()
    assert head == "| Recipe | There called | Accuracy % All | Error % All | Source |"
    assert softmax.startswith("| cross_entropy | Softmax | 74 | – | README of the code of Ren et al.")
    assert "| cross_entropy + ot + rrt | OT | – | 21.54 | Guo et al." in rows["cifar10-lt-200"]
    assert "| l1 | VANILLA | 7.77 | 6.62 | 9.55 | 13.67 | 5.05 |" in rows["agedb-dir"]
