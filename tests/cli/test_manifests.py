"""What `heliostat deploy` writes is what Docker, Compose, systemd, Kubernetes and KubeRay take."""

import re
import shutil
import subprocess
from dataclasses import replace

import pytest
import yaml

from heliostat.cli._manifests import Request, files, memory_of, next_steps
from tests.cli.kuberay_v1 import FIELDS

SERVICE = Request(
    name="digits",
    command=("serve", "run", "app:app", "--http-host", "0.0.0.0", "--http-port", "8000"),
    serves=True,
    cpus=2.5,
    memory=4 << 30,
    gpus=1,
    nodes=2,
    max_nodes=5,
    storage="",
    secret="keys",
    image="registry/digits:1",
    folder="/srv/digits",
    context="..",
    dockerfile="deploy/Dockerfile",
    has_requirements=True,
    user="me",
    python="/usr/bin/python3",
    versions={"heliostat": "0.1.0", "ray": "2.60.0", "python": "3.11"},
)
JOB = replace(SERVICE, command=("run", "train.py"), serves=False, secret="", max_nodes=2, gpus=0)


def complaints(value, kind, where=""):
    """Where a value has not the form that `FIELDS` asks for."""
    if isinstance(kind, str) and kind in FIELDS:
        return complaints(value, FIELDS[kind], where)
    if isinstance(kind, dict) and isinstance(value, dict):
        wanted = {name.rstrip("!"): inner for name, inner in kind.items()}
        missing = {name[:-1] for name in kind if name.endswith("!")} - set(value)
        unknown = set() if "*" in wanted else set(value) - set(wanted)
        said = [f"{where}.{name} is missing" for name in missing]
        said += [f"{where}.{name} is unknown" for name in unknown]
        known = [name for name in value if name not in unknown]
        for name in known:
            said += complaints(value[name], wanted.get(name, wanted.get("*")), f"{where}.{name}")
        return said
    if isinstance(kind, list) and isinstance(value, list):
        return [said for one in value for said in complaints(one, kind[0], f"{where}[]")]
    if isinstance(kind, tuple):
        good = value in kind
    elif isinstance(kind, str):
        good = isinstance(value, str) and re.fullmatch(kind, value) is not None
    else:
        good = isinstance(kind, type) and type(value) is kind
    return [] if good else [f"{where}: {value!r} is no {kind}"]


def manifests(request):
    return list(yaml.safe_load_all(files("kuberay", request)["digits.yaml"]))


@pytest.mark.parametrize("request_", [SERVICE, JOB, replace(SERVICE, storage="s3://b/runs")])
def test_manifests_have_no_field_that_kuberay_or_kubernetes_does_not_know(request_):
    for manifest in manifests(request_):
        assert complaints(manifest, manifest["kind"], manifest["kind"]) == []


def test_the_check_itself_finds_what_is_wrong():
    (job,) = manifests(JOB)
    job["spec"]["rayClusterSpec"]["headGroupSpec"]["rayStartParams"]["num-cpus"] = 0
    job["spec"]["rayClusterSpec"]["workerGroupSpec"] = []
    del job["spec"]["rayClusterSpec"]["workerGroupSpecs"][0]["groupName"]
    assert complaints(job, "RayJob") == [
        ".spec.rayClusterSpec.workerGroupSpec is unknown",
        f".spec.rayClusterSpec.headGroupSpec.rayStartParams.num-cpus: 0 is no {str}",
        ".spec.rayClusterSpec.workerGroupSpecs[].groupName is missing",
    ]


def test_a_script_is_a_ray_job_that_runs_on_its_head():
    (job,) = manifests(JOB)
    assert job["kind"] == "RayJob"
    assert job["spec"]["entrypoint"] == "cd /app && heliostat run train.py"
    cluster = job["spec"]["rayClusterSpec"]
    (head,) = cluster["headGroupSpec"]["template"]["spec"]["containers"]
    assert {"name": "HELIOSTAT_ADDRESS", "value": "auto"} in head["env"]
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    assert "enableInTreeAutoscaling" not in cluster
    assert cluster["workerGroupSpecs"][0]["replicas"] == 2


def test_an_application_is_a_cluster_and_a_pod_that_owns_the_port():
    cluster, driver, service = manifests(SERVICE)
    assert [cluster["kind"], driver["kind"], service["kind"]] == [
        "RayCluster", "Deployment", "Service",
    ]  # fmt: skip
    workers = cluster["spec"]["workerGroupSpecs"][0]
    assert (workers["minReplicas"], workers["maxReplicas"]) == (2, 5)
    assert cluster["spec"]["enableInTreeAutoscaling"]
    (container,) = driver["spec"]["template"]["spec"]["containers"]
    assert "ray start --address=digits-head-svc:6379 --num-cpus=0" in container["command"][2]
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[probe]["httpGet"] == {"path": "/-/healthz", "port": 8000}
    assert container["lifecycle"]["preStop"]["exec"]["command"][2] == "sleep 5"
    assert driver["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] > 60
    labels = driver["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["selector"] == driver["spec"]["selector"]["matchLabels"] == labels
    assert container["envFrom"] == [{"secretRef": {"name": "keys"}}]


def test_only_workers_have_gpus_and_all_have_limits():
    cluster = manifests(SERVICE)[0]["spec"]
    (worker,) = cluster["workerGroupSpecs"][0]["template"]["spec"]["containers"]
    (head,) = cluster["headGroupSpec"]["template"]["spec"]["containers"]
    assert worker["resources"]["limits"] == {
        "cpu": "2.5", "memory": str(4 << 30), "nvidia.com/gpu": "1",
    }  # fmt: skip
    assert head["resources"]["limits"] == {"cpu": "2.5", "memory": str(4 << 30)}


def test_storage_is_a_volume_or_a_url():
    (job,) = manifests(replace(JOB, storage="shared"))
    pod = job["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]
    claim = {"name": "storage", "persistentVolumeClaim": {"claimName": "shared"}}
    assert claim in pod["volumes"]
    assert {"name": "STORAGE", "value": "/storage"} in pod["containers"][0]["env"]
    (job,) = manifests(replace(JOB, storage="s3://bucket/runs"))
    pod = job["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]
    assert [volume["name"] for volume in pod["volumes"]] == ["shm"]
    assert {"name": "STORAGE", "value": "s3://bucket/runs"} in pod["containers"][0]["env"]


def test_an_image_has_the_program_its_requirements_and_a_health_check():
    text = files("docker", SERVICE)["Dockerfile"]
    assert text.startswith("FROM python:3.11-slim\n")
    assert '"heliostat[serve]==0.1.0"' in text
    assert text.index("requirements.txt") < text.index("COPY . .")
    assert "USER app" in text
    assert "HEALTHCHECK" in text
    assert 'CMD ["heliostat", "serve", "run", "app:app"' in text
    job = files("docker", replace(JOB, has_requirements=False))["Dockerfile"]
    assert "requirements" not in job
    assert "HEALTHCHECK" not in job
    assert "EXPOSE" not in job


def test_an_image_for_kuberay_has_the_ray_of_the_cluster():
    text = files("kuberay", SERVICE)["Dockerfile"]
    assert text.startswith("FROM rayproject/ray:2.60.0-py311\n")
    assert '"heliostat[ray,serve]==0.1.0"' in text
    assert "CMD" not in text  # KubeRay has its own


def test_compose_has_limits_a_volume_and_time_to_drain():
    composed = yaml.safe_load(files("compose", SERVICE)["compose.yaml"])
    service = composed["services"]["digits"]
    assert service["build"] == {"context": "..", "dockerfile": "deploy/Dockerfile"}
    assert service["deploy"]["resources"]["limits"] == {"cpus": "2.5", "memory": str(4 << 30)}
    assert service["ports"] == ["8000:8000"]
    assert service["stop_grace_period"] == "60s"
    assert service["volumes"] == ["digits-storage:/storage"]
    assert composed["volumes"] == {"digits-storage": {}}
    url = yaml.safe_load(files("compose", replace(JOB, storage="s3://b/r"))["compose.yaml"])
    assert "volumes" not in url
    assert "volumes" not in url["services"]["digits"]
    assert url["services"]["digits"]["environment"]["STORAGE"] == "s3://b/r"


@pytest.mark.parametrize("request_", [SERVICE, JOB, replace(JOB, storage="/mnt/50% of $it")])
def test_systemd_takes_the_unit(request_, tmp_path):
    analyze = shutil.which("systemd-analyze")
    text = files("systemd", request_)["digits.service"]
    assert "CPUQuota=250%" in text
    assert "KillMode=mixed" in text
    assert ("ExecStartPost" in text) is request_.serves
    if analyze is None:
        pytest.skip("no systemd here")
    # `verify` looks for the program, the folder and the user.
    text = text.replace("/srv/digits", str(tmp_path)).replace("User=me\n", "")
    (tmp_path / "digits.service").write_text(text)
    done = subprocess.run(
        [analyze, "verify", "--man=no", str(tmp_path / "digits.service")],
        capture_output=True,
        text=True,
        check=False,
        env={"SYSTEMD_UNIT_PATH": f"{tmp_path}:"},
    )
    assert "digits.service" not in done.stderr, done.stderr


def test_next_steps_name_what_was_written():
    for target, word in {
        "docker": "docker run",
        "compose": "docker compose -f deploy/compose.yaml up",
        "systemd": "systemctl enable --now digits",
        "kuberay": "kubectl apply -f deploy/digits.yaml",
    }.items():
        assert any(word in step for step in next_steps(target, SERVICE, "deploy"))


@pytest.mark.parametrize("text", ["", "four", "4GB", "nan"])
def test_what_is_no_amount_of_memory_is_refused(text):
    with pytest.raises(ValueError, match=r"float|NaN"):
        memory_of(text)
