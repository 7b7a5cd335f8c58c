"""What is said on an object: its events, as `kubectl describe` shows them."""

from tests.kubernetes.testbed import Cluster, wait_for

REASON = "PolicyNotUnderstood"
TOLD_S = 20.0


def told_on(cluster: Cluster, kind: str, name: str) -> str:
    """Wait for what the policy controllers say on a policy of the default namespace, or of none; they say it once."""
    def look() -> list[dict]:  # type: ignore[type-arg]
        return cluster.objects("events", "-n", "default", "--field-selector",
                               f"involvedObject.kind={kind},involvedObject.name={name},reason={REASON}")
    [event] = wait_for(look, bool, f"nothing is said on {kind} {name}", TOLD_S)
    return str(event["message"])
