"""One cluster of a flavour for all scenarios of it, with the project's own image and manifests; a table at the end.

A module of another flavour than the usual one says so: `pytestmark = flavoured(DUAL_STACK)`. One cluster runs at a
time.
"""

import subprocess
from collections.abc import Generator, Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest

from tests.kubernetes.capture import Capture, capturing
from tests.kubernetes.flavour import PLAIN, Flavour
from tests.kubernetes.testbed import ROOT, TESTBED, WORK, Cluster, KubernetesError, available, wait_for
from tests.kubernetes.workload import Workload

IMAGE_DEADLINE_S = 900
LOG_SHOWN_LINES = 25
CONTROL_PLANE = ("etcd", "kube-apiserver")


@pytest.fixture(scope="session")
def image() -> Path:
    """Build the image of a node by the project's own script."""
    archive = WORK / "weave-image.tar"
    WORK.mkdir(mode=0o700, parents=True, exist_ok=True)
    subprocess.run([str(ROOT / "deploy" / "image.sh"), str(archive)], check=True, timeout=IMAGE_DEADLINE_S)
    return archive


@pytest.fixture(scope="session")
def flavour(request: pytest.FixtureRequest) -> Flavour:
    """Say which cluster is wanted."""
    wanted: Flavour = getattr(request, "param", PLAIN)
    return wanted


@pytest.fixture(scope="session")
def bare(image: Path, flavour: Flavour) -> Iterator[Cluster]:
    """Give a cluster without a network; it is removed at the end."""
    if not available():
        pytest.skip(f"there is no Kubernetes testbed at {TESTBED}; say where it is by WEAVE_TESTBED")
    if flavour.lacks():
        pytest.skip(flavour.lacks())
    bed = Cluster(flavour.nodes, extra=flavour.environment, proxy_mode=flavour.proxy_mode)
    bed.prepare()
    try:
        bed.up()
        bed.load_image(image)
        yield bed
    finally:
        bed.down()


@pytest.fixture(scope="session")
def captured(bare: Cluster, flavour: Flavour, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Capture | None]:
    """Record what nodes say to each other, from before there is a network, where the flavour asks for it."""
    place: Path = tmp_path_factory.mktemp("captured")
    with capturing(bare, place) if flavour.is_captured else nullcontext() as capture:
        yield capture


@pytest.fixture(scope="session")
def cluster(bare: Cluster, flavour: Flavour, captured: Capture | None) -> Cluster:
    """Give a cluster whose network is ours: the manifest is applied as it is, and every node gets Ready.

    What is `captured` is captured from before that.
    """
    bare.apply(flavour.manifest())
    ready(bare)
    return bare


def ready(bed: Cluster, deadline_s: float = 180.0) -> None:
    """Wait until every node is Ready and every pod of ours too."""
    wait_for(lambda: bed.objects("nodes"), lambda nodes: all(map(node_is_ready, nodes)), "not all nodes are Ready",
             deadline_s)
    bed.kubectl("-n", "kube-system", "rollout", "status", "daemonset/weave-net", f"--timeout={deadline_s:g}s",
                    deadline_s=deadline_s + 10)


def node_is_ready(node: dict[str, object]) -> bool:
    conditions = {item["type"]: item["status"] for item in node["status"]["conditions"]}  # type: ignore[index]
    return conditions.get("Ready") == "True" and conditions.get("NetworkUnavailable", "False") == "False"


@pytest.fixture(scope="session")
def workload(cluster: Cluster) -> Workload:
    """Give pods on every node that serve and ask."""
    made = Workload(cluster)
    made.up()
    return made


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Have all scenarios of one cluster follow each other."""
    items.sort(key=_flavour_of)


def _flavour_of(item: pytest.Item) -> str:
    wanted = item.callspec.params.get("flavour") if isinstance(item, pytest.Function) and hasattr(
        item, "callspec") else None
    return wanted.name if isinstance(wanted, Flavour) else ""


# -- the table ----------------------------------------------------------------------------------------------------

def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print one line for each scenario."""
    rows = []
    for outcome in ("passed", "failed", "error", "skipped"):
        for report in terminalreporter.stats.get(outcome, ()):
            if isinstance(report, pytest.TestReport) and (report.when == "call" or outcome != "passed"):
                name = report.nodeid.rpartition("::")[2].removeprefix("test_").replace("_", " ")
                rows.append((report.nodeid, name, outcome, report.duration))
    if not rows:
        return
    terminalreporter.section("Kubernetes scenarios")
    width = max(len(name) for _, name, _, _ in rows)
    for _, name, outcome, duration in sorted(rows):
        terminalreporter.write_line(f"{name:<{width}}  {outcome:<7}  {duration:6.1f} s")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show beside a failure what our pods had to say."""
    report = yield
    bed = getattr(item, "funcargs", {}).get("cluster")
    if report.failed and report.when != "teardown" and isinstance(bed, Cluster):  # it may be gone by then
        report.sections.append(("our pods", _said(bed)))
    return report


def _said(bed: Cluster) -> str:
    try:
        return "\n".join(_logs(bed))
    except KubernetesError as exc:
        return f"{exc}\n" + "\n".join(f"--- {name}\n{bed.log(name, LOG_SHOWN_LINES)}" for name in CONTROL_PLANE)


def _logs(bed: Cluster) -> Iterator[str]:
    yield bed.kubectl("get", "pods", "-A", "-o", "wide")
    for pod in bed.objects("pods", "-n", "kube-system", "-l", "name=weave-net"):
        for container in pod["spec"]["containers"]:
            name = pod["metadata"]["name"]
            yield f"--- {pod['spec'].get('nodeName')} {container['name']}\n" + bed.kubectl(
                "-n", "kube-system", "logs", name, "-c", container["name"], f"--tail={LOG_SHOWN_LINES}")
