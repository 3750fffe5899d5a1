"""Programs of the state API: what is listed, filtered, summed up. Ray needs its dashboard for it."""

import time

from outcomes import library, main, program


def until(check, most_s=15):
    """What `check` gives once it is true: Ray learns of events some time later."""
    end = time.monotonic() + most_s
    while not (found := check()) and time.monotonic() < end:
        time.sleep(0.2)
    return found


@program
def tasks_that_are_listed(ray):
    state = library(ray, "util.state")

    @ray.remote(max_retries=0)
    def listed(fail):
        if fail:
            raise ValueError("in the list")

    refs = [listed.options(name="a listed task").remote(fail) for fail in (False, True)]
    ray.wait(refs, num_returns=2)
    mine = [("name", "=", "a listed task")]

    def ended():
        found = state.list_tasks(filters=mine)
        states = sorted(task["state"] for task in found)
        return states if states == ["FAILED", "FINISHED"] else None

    return [
        until(ended),
        sorted(task["type"] for task in state.list_tasks(filters=mine)),
        len(state.list_tasks(filters=[*mine, ("state", "!=", "FAILED")])),
        len(state.list_tasks(limit=1)),
    ]


@program
def other_things_that_are_listed(ray):
    state = library(ray, "util.state")
    group = ray.util.placement_group([{"CPU": 1}], name="listed group")
    ray.get(group.ready())

    def created():
        return state.list_placement_groups(filters=[("name", "=", "listed group")])

    (found,) = until(created)
    ray.util.remove_placement_group(group)
    (node,) = state.list_nodes()
    return [
        [found["state"], found["name"]],
        [node["state"], node["is_head_node"], node["node_id"] == ray.nodes()[0]["NodeID"]],
        len(state.list_workers(limit=1)),
    ]


@program
def summaries(ray):
    state = library(ray, "util.state")

    @ray.remote
    def summed():
        pass

    ray.get([summed.options(name="summed task").remote() for _ in range(3)])

    def counts():
        groups = state.summarize_tasks()["cluster"]["summary"]
        found = groups.get("summed task", {}).get("state_counts")
        return found if found == {"FINISHED": 3} else None

    return [until(counts), sorted(state.summarize_actors()["cluster"])]


if __name__ == "__main__":
    main("util.state", dashboard=True)
