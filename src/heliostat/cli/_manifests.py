"""What a program needs to run elsewhere: the files for Docker, Compose, systemd and KubeRay.

Pure: a request goes in, names and texts of files come out. It reads no disk and knows no cluster.
"""

from __future__ import annotations

import json
import posixpath
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

PORT = 8000
_DRAIN_S = 60  # how long requests that run may take when a process is asked to end
_LEAVE_S = 5  # until nobody sends new requests to a pod that is about to end
_STORAGE = "/storage"
_HEALTH = "/-/healthz"
_IGNORED = (".git", ".venv", ".env", "**/__pycache__", "**/.*_cache", "*.egg-info")
_ROOM = "10Gi"  # of the volume that a cluster is given when none is named
_GROUP = 1000  # of the user in Ray's images: its pods may write to their volume
_USER = 10001  # by number: whoever asks for a user that is not root sees that this is none
_GIB = 1 << 30

Target = Literal["kuberay", "docker", "compose", "systemd"]
Kind = Literal["RayJob", "RayService", "RayCluster"]


@dataclass(frozen=True)
class Request:
    """What is to run where, and on how much.

    Args:
        name: A label of DNS.
        command: What runs: the arguments of `heliostat`.
        serves: Whether it listens on the port.
        cpus: Of each machine.
        memory: Of each machine, in bytes.
        gpus: Of each machine.
        nodes: Machines of the cluster beside its head.
        max_nodes: As many as its autoscaler may start.
        storage: A URL, the claim of a Kubernetes volume, or a directory; empty for a new volume.
        secret: A Kubernetes secret with environment variables; empty for none.
        image: Of the container.
        folder: The program's own, absolute.
        context: The same, as seen from where the files are written.
        dockerfile: Where the Dockerfile is, as seen from the program's folder.
        has_requirements: Whether there is a requirements.txt in it.
        user: Who runs it under systemd.
        python: The interpreter, absolute.
        environments: Folders of virtual environments in the program's.
        versions: Of "heliostat", "ray" and "python" (two numbers).
        kind: What KubeRay is to make of it.
    """

    name: str
    command: tuple[str, ...]
    serves: bool
    cpus: float
    memory: int
    gpus: int
    nodes: int
    max_nodes: int
    storage: str
    secret: str
    image: str
    folder: str
    context: str
    dockerfile: str
    has_requirements: bool
    user: str
    python: str
    versions: Mapping[str, str]
    kind: Kind = "RayJob"
    environments: tuple[str, ...] = ()


def files(target: Target, request: Request) -> dict[str, str]:
    """The files for a target, by name."""
    if target == "systemd":
        return {f"{request.name}.service": _unit(request)}
    on_ray = target == "kuberay"
    image = {
        "Dockerfile": _dockerfile(request, on_ray=on_ray),
        "Dockerfile.dockerignore": "\n".join(
            (*_IGNORED, *request.environments, *_own_folder(request), "")
        ),
    }
    if target == "compose":
        return {**image, "compose.yaml": _yaml(_compose(request))}
    if on_ray:
        return {**image, f"{request.name}.yaml": _yaml(*_kuberay(request))}
    return image


def next_steps(target: Target, request: Request, folder: str) -> list[str]:
    """The commands that bring it up."""
    file, program = shlex.quote(request.dockerfile), shlex.quote(request.folder)
    build = f"docker build -t {request.image} -f {file} {program}"
    at = shlex.quote(f"{folder}/")
    limits = f"--cpus {request.cpus:g} --memory {request.memory} --shm-size {_shm(request)}"
    ports = f"-p {PORT}:{PORT} " if request.serves else ""
    gpus = f"--gpus {request.gpus} " if request.gpus else ""
    mounted = shlex.quote(f"{_volume(request)}:{_STORAGE}")
    volume = "" if _is_url(request.storage) else f"-v {mounted} "
    return {
        "docker": [
            build,
            f"docker run --init --stop-timeout {_DRAIN_S} {limits} {gpus}{ports}{volume}"
            f"{request.image}",
        ],
        "compose": [f"docker compose -f {at}compose.yaml up --build"],
        "systemd": [
            f"sudo cp {at}{request.name}.service /etc/systemd/system/",
            f"sudo systemctl daemon-reload && sudo systemctl enable --now {request.name}",
        ],
        "kuberay": [
            build,
            f"docker push {request.image}",
            f"kubectl apply -f {at}{request.name}.yaml",
        ],
    }[target]


def _yaml(*documents: Mapping[str, Any]) -> str:
    import yaml  # noqa: PLC0415 - few commands need it

    text: str = yaml.safe_dump_all(documents, sort_keys=False)
    return text


def _shm(request: Request) -> int:
    """Shared memory for PyTorch's loaders, and for Ray's objects."""
    return request.memory * 3 // 10


def _is_url(storage: str) -> bool:
    return "://" in storage


def _volume(request: Request) -> str:
    """A directory of the host, or the name of a volume."""
    storage = request.storage
    return storage if storage and not _is_url(storage) else f"{request.name}-storage"


def _environment(request: Request) -> dict[str, str]:
    where = request.storage if _is_url(request.storage) else _STORAGE
    return {"STORAGE": where, "PYTHONUNBUFFERED": "1"}


# Docker and Compose


def _own_folder(request: Request) -> list[str]:
    """Where these files are, as an image does without them, if that is a folder of the program's."""
    folder = posixpath.dirname(request.dockerfile)
    return [folder] if folder and not folder.startswith(("..", "/")) else []


def _dockerfile(request: Request, *, on_ray: bool) -> str:
    heliostat, python = request.versions["heliostat"], request.versions["python"]
    extras = "ray,all" if on_ray else "all"
    ray = f"rayproject/ray:{request.versions['ray']}-py{python.replace('.', '')}"
    lines = [f"FROM {ray if on_ray else f'python:{python}-slim'}"]
    if not on_ray:
        owned = f"mkdir {_STORAGE} && chown app {_STORAGE}"
        lines += [
            # For LightGBM, whose wheel has it not.
            "RUN apt-get update && apt-get install -y --no-install-recommends libgomp1 \\",
            "    && rm -rf /var/lib/apt/lists/*",
            f"RUN useradd --create-home --uid {_USER} app && {owned}",
        ]
    lines += [
        "WORKDIR /app",
        f'ARG HELIOSTAT="heliostat[{extras}]=={heliostat}"',
        'RUN pip install --no-cache-dir "$HELIOSTAT"',
    ]
    if request.has_requirements:
        lines += [
            "COPY requirements.txt ./",
            "RUN pip install --no-cache-dir -r requirements.txt",
        ]
    lines += ["COPY . .", "ENV PYTHONUNBUFFERED=1 PYTHONPATH=/app"]
    if not on_ray:
        lines += [f"ENV STORAGE={_environment(request)['STORAGE']}", f"USER {_USER}"]
        lines += _image_of_a_service() if request.serves else []
        lines += ["STOPSIGNAL SIGTERM", f"CMD {json.dumps(['heliostat', *request.command])}"]
    return "\n".join((*lines, ""))


def _image_of_a_service() -> list[str]:
    return [
        f"EXPOSE {PORT}",
        "HEALTHCHECK --start-period=120s --interval=10s --timeout=3s --retries=3 "
        f"CMD {json.dumps(['python', '-c', _asks()])}",
    ]


def _asks() -> str:
    """What fails unless the service is healthy; images have no curl."""
    url = f"http://127.0.0.1:{PORT}{_HEALTH}"
    return f"from urllib.request import urlopen; urlopen('{url}', timeout=2)"


def _compose(request: Request) -> dict[str, Any]:
    limits: dict[str, Any] = {"cpus": f"{request.cpus:g}", "memory": str(request.memory)}
    resources: dict[str, Any] = {"limits": limits}
    if request.gpus:
        device = {"driver": "nvidia", "count": request.gpus, "capabilities": ["gpu"]}
        resources["reservations"] = {"devices": [device]}
    service: dict[str, Any] = {
        "image": request.image,
        "build": {
            "context": request.context.replace("$", "$$"),  # else the name of a variable
            "dockerfile": request.dockerfile.replace("$", "$$"),
        },
        "init": True,  # the first process of a container has no signal end it
        "environment": _environment(request),
        "shm_size": str(_shm(request)),
        "stop_grace_period": f"{_DRAIN_S}s",
        "restart": "unless-stopped" if request.serves else "on-failure",
        "deploy": {"resources": resources},
    }
    if request.serves:
        service["ports"] = [f"{PORT}:{PORT}"]
    if _is_url(request.storage):
        return {"name": request.name, "services": {request.name: service}}
    volume = _volume(request)
    service["volumes"] = [f"{volume}:{_STORAGE}"]
    composed = {"name": request.name, "services": {request.name: service}}
    return composed if request.storage else {**composed, "volumes": {volume: {}}}


# systemd


def _unit(request: Request) -> str:
    where = request.storage or f"/var/lib/{request.name}"
    command = " ".join(map(_quoted, (request.python, "-m", "heliostat.cli", *request.command)))
    storage = _quoted(f"STORAGE={where}", variables=False)
    visible = ",".join(map(str, range(request.gpus)))
    gpus = f" CUDA_VISIBLE_DEVICES={visible}" if request.gpus else ""
    waits = (
        "import sys, time; from urllib.request import urlopen\n"
        "for _ in range(120):\n"
        f" try: urlopen('http://127.0.0.1:{PORT}{_HEALTH}', timeout=2); sys.exit()\n"
        " except OSError: time.sleep(1)\n"
        "sys.exit('not healthy after 120 s')"
    )
    ready = f"ExecStartPost={_quoted(request.python)} -c {_quoted(waits)}\n"
    return (
        "[Unit]\n"
        f"Description={request.name}, on Heliostat\n"
        "Wants=network-online.target\n"
        "After=network-online.target\n"
        "\n"
        "[Service]\n"
        "Type=exec\n"
        f"User={request.user}\n"
        f"WorkingDirectory={request.folder.replace('%', '%%')}\n"
        f"Environment=PYTHONUNBUFFERED=1 {storage}{gpus}\n"
        f"{'' if request.storage else f'StateDirectory={request.name}' + chr(10)}"
        f"ExecStart={command}\n"
        f"{ready if request.serves else ''}"
        f"TimeoutStartSec=150\n"
        f"TimeoutStopSec={_DRAIN_S}\n"
        "KillMode=mixed\n"
        "Restart=on-failure\n"
        "RestartSec=2\n"
        f"CPUQuota={max(1, round(request.cpus * 100))}%\n"
        f"MemoryMax={request.memory}\n"
        "NoNewPrivileges=yes\n"
        "\n"
        "[Install]\n"
        "WantedBy=multi-user.target\n"
    )


def _quoted(word: str, *, variables: bool = True) -> str:
    """A word of systemd's; where it puts in variables, as in commands, `$` is no beginning of one."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    escaped = escaped.replace("%", "%%").replace("$", "$$" if variables else "$")
    plain = escaped == word and not any(letter.isspace() for letter in word) and "'" not in word
    return word if plain else f'"{escaped}"'


# KubeRay


def _kuberay(request: Request) -> list[dict[str, Any]]:
    """A job, whose driver runs on the cluster's head; a service; or a cluster and a pod that serves."""
    cluster = _cluster(request)
    claim = [] if request.storage else [_claim(request)]
    if request.kind == "RayService":
        served = {"serveConfigV2": _looked_after(request), "rayClusterConfig": cluster}
        return [*claim, _object("ray.io/v1", request.kind, request, served)]
    if request.kind == "RayCluster":
        whole = _object("ray.io/v1", "RayCluster", request, cluster)
        return [*claim, whole, _driver(request), _service(request)]
    verb, script = request.command
    spec = {
        # A word for a shell in another pod than the one where it runs: nothing but one command.
        "entrypoint": shlex.join(("heliostat", verb, posixpath.join("/app", script))),
        "submissionMode": "K8sJobMode",
        "shutdownAfterJobFinishes": True,
        "ttlSecondsAfterFinished": 600,
        "rayClusterSpec": cluster,
    }
    return [*claim, _object("ray.io/v1", "RayJob", request, spec)]


def _looked_after(request: Request) -> str:
    """What Ray's own Serve is told: to start ours, whose port KubeRay sends requests to."""
    # The dashboard of Ray has the port of our REST interface on the head.
    arguments = {"command": [*request.command, "--rest-port", "0"], "port": PORT, "folder": "/app"}
    started = {
        "name": request.name,
        "import_path": "heliostat.cli._ray_service:application",
        "route_prefix": None,
        "args": arguments,
    }
    return _yaml({"proxy_location": "Disabled", "applications": [started]})


def _object(
    version: str, kind: str, request: Request, spec: Mapping[str, Any], name: str = ""
) -> dict[str, Any]:
    labels = {"app.kubernetes.io/name": request.name}
    metadata = {"name": name or request.name, "labels": labels}
    return {"apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec}


def _claim(request: Request) -> dict[str, Any]:
    """A volume of the cluster's default kind, which has to be one that many nodes write to."""
    spec = {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": _ROOM}}}
    return _object("v1", "PersistentVolumeClaim", request, spec, _volume(request))


def _cluster(request: Request) -> dict[str, Any]:
    # Nobody sends requests to a pod's port that is about to end: those that run have half the time.
    leaves = f"sleep {_DRAIN_S // 2}; ray stop" if request.serves else "ray stop"
    # KubeRay gives head and workers the probes that suit them, where a manifest has none.
    workers = {
        "groupName": "workers",
        "replicas": request.nodes,
        "minReplicas": request.nodes,
        "maxReplicas": request.max_nodes,
        "rayStartParams": {},
        "template": _pod(request, "ray-worker", _leaving(leaves), gpus=request.gpus),
    }
    head = {
        # Nothing but the driver of a job runs there.
        "rayStartParams": {"num-cpus": "0", "dashboard-host": "0.0.0.0"},
        "template": _pod(request, "ray-head", {}),
    }
    spec: dict[str, Any] = {"rayVersion": request.versions["ray"]}
    if request.max_nodes > request.nodes:
        spec |= {"enableInTreeAutoscaling": True, "autoscalerOptions": {"idleTimeoutSeconds": 120}}
    return {**spec, "headGroupSpec": head, "workerGroupSpecs": [workers]}


def _pod(
    request: Request,
    container: str,
    more: Mapping[str, Any],
    *,
    gpus: int = 0,
    labels: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    amounts: dict[str, Any] = {"cpu": f"{request.cpus:g}", "memory": str(request.memory)}
    if gpus:
        amounts["nvidia.com/gpu"] = str(gpus)
    mounts = [{"name": "shm", "mountPath": "/dev/shm"}]
    shm = {"medium": "Memory", "sizeLimit": str(_shm(request))}
    volumes: list[dict[str, Any]] = [{"name": "shm", "emptyDir": shm}]
    if not _is_url(request.storage):
        mounts.append({"name": "storage", "mountPath": _STORAGE})
        claim = {"claimName": _volume(request)}
        volumes.append({"name": "storage", "persistentVolumeClaim": claim})
    environment = {**_environment(request), "HELIOSTAT_ADDRESS": "auto"}
    if request.max_nodes > request.nodes:
        environment["HELIOSTAT_MAX_NODES"] = str(request.max_nodes)
    content: dict[str, Any] = {
        "name": container,
        "image": request.image,
        "env": [{"name": name, "value": value} for name, value in environment.items()],
        "resources": {"requests": amounts, "limits": dict(amounts)},
        "volumeMounts": mounts,
        **more,
    }
    if request.secret:
        content["envFrom"] = [{"secretRef": {"name": request.secret}}]
    pod = {
        "containers": [content],
        "volumes": volumes,
        "securityContext": {"fsGroup": _GROUP},
        "terminationGracePeriodSeconds": _DRAIN_S + _LEAVE_S,
    }
    return {"metadata": {"labels": dict(labels or {})}, "spec": pod} if labels else {"spec": pod}


def _leaving(command: str) -> dict[str, Any]:
    return {"lifecycle": {"preStop": {"exec": {"command": ["/bin/sh", "-c", command]}}}}


def _probe(period_s: int, failures: int) -> dict[str, Any]:
    get = {"path": _HEALTH, "port": PORT}
    often = {"periodSeconds": period_s, "failureThreshold": failures}
    return {"httpGet": get, "timeoutSeconds": 3, **often}


def _driver(request: Request) -> dict[str, Any]:
    """The pod that owns the port: a node of the cluster without CPUs of its own."""
    head = f"{request.name}-head-svc:6379"
    joins = f"ray start --address={head} --num-cpus=0 --num-gpus=0"
    runs = f"exec {shlex.join(('heliostat', *request.command))}"
    more = {
        "command": ["/bin/sh", "-c", f"until {joins}; do sleep 2; done; {runs}"],
        "ports": [{"name": "http", "containerPort": PORT}],
        "startupProbe": _probe(period_s=5, failures=120),
        "readinessProbe": _probe(period_s=5, failures=2),
        "livenessProbe": _probe(period_s=10, failures=6),
        **_leaving(f"sleep {_LEAVE_S}"),
    }
    labels = _selected(request)
    spec = {
        "replicas": 1,
        "strategy": {"type": "Recreate"},  # two would own two Serves of one cluster
        "selector": {"matchLabels": labels},
        "template": _pod(request, "driver", more, labels=labels),
    }
    return _object("apps/v1", "Deployment", request, spec)


def _service(request: Request) -> dict[str, Any]:
    port = {"name": "http", "port": 80, "targetPort": "http"}
    return _object("v1", "Service", request, {"selector": _selected(request), "ports": [port]})


def _selected(request: Request) -> dict[str, str]:
    return {"app.kubernetes.io/name": request.name, "app.kubernetes.io/component": "driver"}


def memory_of(text: str) -> int:
    """An amount of memory, in bytes: 4Gi, 512Mi, 8G or a number.

    Raises:
        ValueError: If it is none.

    Example:
        >>> memory_of("4Gi"), memory_of("500M")
        (4294967296, 500000000)
    """
    units = {"Ki": 1 << 10, "Mi": 1 << 20, "Gi": _GIB, "Ti": 1 << 40}
    units |= {"K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
    for unit, size in units.items():
        if text.endswith(unit):
            return round(float(text.removesuffix(unit)) * size)
    return round(float(text))
