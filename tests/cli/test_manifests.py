"""What `heliostat deploy` writes is what Docker, Compose, systemd, Kubernetes and KubeRay take."""

import re
import shlex
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
    (_, job) = manifests(JOB)
    job["spec"]["rayClusterSpec"]["headGroupSpec"]["rayStartParams"]["num-cpus"] = 0
    job["spec"]["rayClusterSpec"]["workerGroupSpec"] = []
    del job["spec"]["rayClusterSpec"]["workerGroupSpecs"][0]["groupName"]
    assert complaints(job, "RayJob") == [
        ".spec.rayClusterSpec.workerGroupSpec is unknown",
        f".spec.rayClusterSpec.headGroupSpec.rayStartParams.num-cpus: 0 is no {str}",
        ".spec.rayClusterSpec.workerGroupSpecs[].groupName is missing",
    ]


def test_a_script_is_a_ray_job_that_runs_on_its_head():
    (_, job) = manifests(JOB)
    assert job["kind"] == "RayJob"
    # KubeRay puts it into a line of a shell in another pod, where `cd` would be the command.
    assert job["spec"]["entrypoint"] == "heliostat run /app/train.py"
    cluster = job["spec"]["rayClusterSpec"]
    (head,) = cluster["headGroupSpec"]["template"]["spec"]["containers"]
    assert {"name": "HELIOSTAT_ADDRESS", "value": "auto"} in head["env"]
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    assert "enableInTreeAutoscaling" not in cluster
    assert cluster["workerGroupSpecs"][0]["replicas"] == 2


def test_an_application_is_a_cluster_and_a_pod_that_owns_the_port():
    _, cluster, driver, service = manifests(SERVICE)
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


def test_programs_know_how_far_the_cluster_may_grow():
    def told(request):
        (head,) = manifests(request)[1]["spec"]["headGroupSpec"]["template"]["spec"]["containers"]
        return {"name": "HELIOSTAT_MAX_NODES", "value": "5"} in head["env"]

    assert told(SERVICE)
    assert not told(replace(SERVICE, max_nodes=2))


def test_people_who_read_a_manifest_find_everything_where_it_is():
    text = files("kuberay", SERVICE)["digits.yaml"]
    assert "&id" not in text
    assert text.count("path: /-/healthz") == 3


def test_only_workers_have_gpus_and_all_have_limits():
    cluster = manifests(SERVICE)[1]["spec"]
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


@pytest.mark.parametrize("request_", [SERVICE, JOB])
def test_a_volume_that_nobody_named_is_claimed_and_the_pods_may_write_to_it(request_):
    claim, cluster, *_ = manifests(request_)
    assert (claim["kind"], claim["metadata"]["name"]) == ("PersistentVolumeClaim", "digits-storage")
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    assert claim["spec"]["resources"]["requests"]["storage"] == "10Gi"
    spec = cluster["spec"].get("rayClusterSpec", cluster["spec"])
    pods = [spec["headGroupSpec"], *spec["workerGroupSpecs"]]
    for pod in (group["template"]["spec"] for group in pods):
        assert pod["securityContext"] == {"fsGroup": 1000}  # that of the user of Ray's images
        assert {"claimName": "digits-storage"} in [
            volume.get("persistentVolumeClaim") for volume in pod["volumes"]
        ]
    named = manifests(replace(request_, storage="shared"))
    assert "PersistentVolumeClaim" not in [manifest["kind"] for manifest in named]


def test_an_image_has_the_program_its_requirements_and_a_health_check():
    text = files("docker", SERVICE)["Dockerfile"]
    assert text.startswith("FROM python:3.11-slim\n")
    assert 'ARG HELIOSTAT="heliostat[all]==0.1.0"\n' in text
    assert 'RUN pip install --no-cache-dir "$HELIOSTAT"\n' in text
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
    assert 'ARG HELIOSTAT="heliostat[ray,all]==0.1.0"\n' in text
    assert "CMD" not in text  # KubeRay has its own


def test_secrets_and_what_was_written_here_stay_out_of_the_image():
    ignored = files("docker", SERVICE)["Dockerfile.dockerignore"].splitlines()
    assert {".env", "deploy"} <= set(ignored)
    outside = replace(SERVICE, dockerfile="../there/Dockerfile")
    assert "../there" not in files("docker", outside)["Dockerfile.dockerignore"]


@pytest.mark.parametrize("request_", [SERVICE, JOB])
def test_a_script_in_a_container_is_not_the_process_that_no_signal_ends(request_):
    run = next_steps("docker", request_, "deploy")[-1]
    assert "--init" in run.split()
    composed = yaml.safe_load(files("compose", request_)["compose.yaml"])
    assert composed["services"]["digits"]["init"] is True


def test_names_of_folders_are_words_of_a_shell_and_no_variables():
    odd = replace(
        SERVICE,
        folder="/srv/my $digits",
        context="../my $digits",
        dockerfile="../a b/Dockerfile",
        storage="/mnt/of all; ls",
    )
    build, run = map(shlex.split, next_steps("docker", odd, "../a b"))
    assert build[-3:] == ["-f", "../a b/Dockerfile", "/srv/my $digits"]
    assert "/mnt/of all; ls:/storage" in run
    for target in ("compose", "systemd", "kuberay"):
        words = shlex.split(next_steps(target, odd, "../a b")[-1 if target == "kuberay" else 0])
        assert any(word.startswith("../a b/") for word in words), words
    composed = yaml.safe_load(files("compose", odd)["compose.yaml"])
    assert composed["services"]["digits"]["build"]["context"] == "../my $$digits"


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


def test_systemd_finds_the_folder_the_variable_and_the_share_that_were_meant():
    odd = replace(JOB, folder="/srv/100% of $it", storage="/mnt/50% of $it", cpus=12345.678)
    text = files("systemd", odd)["digits.service"]
    assert "WorkingDirectory=/srv/100%% of $it\n" in text
    assert 'Environment=PYTHONUNBUFFERED=1 "STORAGE=/mnt/50%% of $it"\n' in text
    assert "CPUQuota=1234568%\n" in text
    assert "CPUQuota=1%\n" in files("systemd", replace(JOB, cpus=1e-5))["digits.service"]


def test_a_service_sees_as_many_gpus_as_it_was_given():
    several = files("systemd", replace(JOB, gpus=2))["digits.service"]
    assert "STORAGE=/var/lib/digits CUDA_VISIBLE_DEVICES=0,1\n" in several
    assert "CUDA" not in files("systemd", replace(JOB, gpus=0))["digits.service"]


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
