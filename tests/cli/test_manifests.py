"""What `heliostat deploy` writes is what Docker, Compose, systemd, Kubernetes and KubeRay take."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from heliostat.cli._manifests import Request, files, memory_of, next_steps
from tests.cli.kubernetes import against, complaints, definitions

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
    kind="RayService",
)
CLUSTER = replace(SERVICE, kind="RayCluster")
JOB = replace(
    SERVICE,
    command=("run", "train.py"),
    serves=False,
    secret="",
    max_nodes=2,
    gpus=0,
    kind="RayJob",
)


def manifests(request):
    return list(yaml.safe_load_all(files("kuberay", request)["digits.yaml"]))


WRITTEN = [CLUSTER, SERVICE, JOB, replace(SERVICE, storage="s3://b/runs"), replace(JOB, gpus=2)]


@pytest.mark.parametrize("request_", WRITTEN)
def test_manifests_are_what_kuberay_and_kubernetes_take(request_):
    for manifest in manifests(request_):
        assert complaints(manifest) == []
        assert re.fullmatch(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?", manifest["metadata"]["name"])


@pytest.mark.parametrize("request_", WRITTEN)
def test_manifests_are_what_the_definitions_of_an_operator_at_hand_take(request_):
    folder = os.environ.get("HELIOSTAT_KUBERAY_CRDS")
    if not folder:
        pytest.skip("HELIOSTAT_KUBERAY_CRDS names no folder")
    kinds = dict(definitions(Path(folder)))
    for manifest in manifests(request_):
        if manifest["apiVersion"] == "ray.io/v1":
            assert against(kinds[manifest["kind"]], manifest) == []


def test_the_check_itself_finds_what_is_wrong():
    (_, job) = manifests(JOB)
    head = job["spec"]["rayClusterSpec"]["headGroupSpec"]
    head["rayStartParams"]["num-cpus"] = 0
    head["template"]["spec"]["containers"][0]["resources"]["limits"]["memory"] = "4GB"
    head["template"]["spec"]["containers"][0]["livenesProbe"] = {}
    job["spec"]["rayClusterSpec"]["workerGroupSpec"] = []
    del job["spec"]["rayClusterSpec"]["workerGroupSpecs"][0]["groupName"]
    found = "\n".join(complaints(job))
    assert found.count("\n") == 4
    assert ".headGroupSpec.rayStartParams['num-cpus']: 0 is not of type 'string'" in found
    assert ".limits.memory: '4GB' does not match" in found
    assert "('livenesProbe' was unexpected)" in found
    assert "('workerGroupSpec' was unexpected)" in found
    assert ".workerGroupSpecs[0]: 'groupName' is a required property" in found


def test_definitions_of_an_operator_are_read_as_an_api_server_reads_them(tmp_path):
    schema = {
        "type": "object",
        "properties": {
            "spec": {
                "type": "object",
                "properties": {"size": {"x-kubernetes-int-or-string": True, "pattern": "^[0-9]+$"}},
            },
            "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        },
    }
    versions = [{"name": "v1", "schema": {"openAPIV3Schema": schema}}, {"name": "v1alpha1"}]
    crd = {"spec": {"names": {"kind": "RayThing"}, "versions": versions}}
    (tmp_path / "things.yaml").write_text(yaml.safe_dump(crd))
    ((kind, found),) = definitions(tmp_path)
    assert kind == "RayThing"
    assert against(found, {"spec": {"size": "4"}, "status": {"any": 1}}) == []
    assert len(against(found, {"spec": {"size": "four", "more": 1}})) == 2


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


def test_an_application_is_a_ray_service_that_starts_ours():
    _, service = manifests(SERVICE)
    assert service["kind"] == "RayService"
    config = yaml.safe_load(service["spec"]["serveConfigV2"])
    assert config["proxy_location"] == "Disabled"  # Ray's own; ours have the port
    (app,) = config["applications"]
    assert app["import_path"] == "heliostat.cli._ray_service:application"
    # Ray's dashboard has the port that our REST interface has else.
    assert app["args"] == {
        "command": [*SERVICE.command, "--rest-port", "0"], "port": 8000, "folder": "/app",
    }  # fmt: skip
    workers = service["spec"]["rayClusterConfig"]["workerGroupSpecs"][0]
    assert (workers["minReplicas"], workers["maxReplicas"]) == (2, 5)


def test_an_application_may_be_a_cluster_and_a_pod_that_owns_the_port():
    _, cluster, driver, service = manifests(CLUSTER)
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
        spec = manifests(request)[1]["spec"]["rayClusterConfig"]
        (head,) = spec["headGroupSpec"]["template"]["spec"]["containers"]
        return {"name": "HELIOSTAT_MAX_NODES", "value": "5"} in head["env"]

    assert told(SERVICE)
    assert not told(replace(SERVICE, max_nodes=2))


def test_people_who_read_a_manifest_find_everything_where_it_is():
    text = files("kuberay", CLUSTER)["digits.yaml"]
    assert "&id" not in text
    assert text.count("path: /-/healthz") == 3


def test_only_workers_have_gpus_and_all_have_limits():
    cluster = manifests(SERVICE)[1]["spec"]["rayClusterConfig"]
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


@pytest.mark.parametrize("request_", [CLUSTER, SERVICE, JOB])
def test_a_volume_that_nobody_named_is_claimed_and_the_pods_may_write_to_it(request_):
    claim, cluster, *_ = manifests(request_)
    assert (claim["kind"], claim["metadata"]["name"]) == ("PersistentVolumeClaim", "digits-storage")
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    assert claim["spec"]["resources"]["requests"]["storage"] == "10Gi"
    inner = {"RayJob": "rayClusterSpec", "RayService": "rayClusterConfig"}.get(cluster["kind"])
    spec = cluster["spec"][inner] if inner else cluster["spec"]
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
    assert "USER 10001\n" in text
    assert "HEALTHCHECK" in text
    assert 'CMD ["heliostat", "serve", "run", "app:app"' in text
    job = files("docker", replace(JOB, has_requirements=False))["Dockerfile"]
    assert "requirements" not in job
    assert "HEALTHCHECK" not in job
    assert "EXPOSE" not in job


def test_a_slim_image_has_the_library_that_lightgbm_needs():
    assert "libgomp1" in files("docker", JOB)["Dockerfile"]
    assert "libgomp1" not in files("kuberay", JOB)["Dockerfile"]  # Ray's image has it


def test_a_worker_that_leaves_a_service_first_ends_the_requests_that_it_has():
    def leaves(cluster):
        (worker,) = cluster["workerGroupSpecs"]
        (container,) = worker["template"]["spec"]["containers"]
        return container["lifecycle"]["preStop"]["exec"]["command"][2]

    assert leaves(manifests(CLUSTER)[1]["spec"]) == "sleep 30; ray stop"
    assert leaves(manifests(SERVICE)[1]["spec"]["rayClusterConfig"]) == "sleep 30; ray stop"
    assert leaves(manifests(JOB)[1]["spec"]["rayClusterSpec"]) == "ray stop"


def test_what_is_kept_behind_a_url_needs_no_volume():
    there = replace(SERVICE, storage="s3://b/runs")
    assert " -v " not in next_steps("docker", there, "deploy")[-1]
    assert " -v " in next_steps("docker", SERVICE, "deploy")[-1]


def test_an_image_for_kuberay_has_the_ray_of_the_cluster():
    text = files("kuberay", SERVICE)["Dockerfile"]
    assert text.startswith("FROM rayproject/ray:2.60.0-py311\n")
    assert 'ARG HELIOSTAT="heliostat[ray,all]==0.1.0"\n' in text
    assert "CMD" not in text  # KubeRay has its own


def test_secrets_environments_and_what_was_written_here_stay_out_of_the_image():
    request = replace(SERVICE, environments=("venv", "tools/env"))
    ignored = files("docker", request)["Dockerfile.dockerignore"].splitlines()
    assert {".env", "deploy", "venv", "tools/env", "**/.*_cache"} <= set(ignored)
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


def tool(name):
    """A tool that others read these files with; in this environment, or on the path."""
    found = shutil.which(
        name, path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    )
    if found is None:
        pytest.skip(f"no {name} here")
    return found


ODD = replace(JOB, folder="/srv/my $digits", context="../my $digits", storage="/mnt/of all; ls")


@pytest.mark.parametrize("request_", [SERVICE, JOB, ODD, replace(JOB, storage="s3://b/runs")])
def test_compose_itself_takes_the_file_and_finds_what_was_meant(request_, tmp_path):
    file = tmp_path / "compose.yaml"
    file.write_text(files("compose", request_)["compose.yaml"])
    words = [tool("docker-compose"), "-f", str(file), "config", "--format", "json"]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""  # nor does it warn
    service = json.loads(done.stdout.replace("$$", "$"))["services"]["digits"]  # a file again
    assert service["build"]["context"] == str((tmp_path / request_.context).resolve())
    assert service["build"]["dockerfile"] == request_.dockerfile
    assert service["init"] is True
    assert service["stop_grace_period"] == "1m0s"
    limits = service["deploy"]["resources"]["limits"]
    assert (float(limits["cpus"]), int(limits["memory"])) == (2.5, 4 << 30)
    assert int(service["shm_size"]) < 4 << 30
    mounts = [(mount["source"], mount["target"]) for mount in service.get("volumes", [])]
    volume = request_.storage or "digits-storage"
    assert mounts == ([] if "://" in volume else [(volume, "/storage")])


@pytest.mark.parametrize("target", ["docker", "kuberay"])
@pytest.mark.parametrize("request_", [SERVICE, JOB, replace(JOB, has_requirements=False)])
def test_a_linter_of_dockerfiles_finds_nothing(target, request_, tmp_path):
    file = tmp_path / "Dockerfile"
    file.write_text(files(target, request_)["Dockerfile"])
    # DL3013 asks for a version, which is in the argument; DL3008 for one of libgomp: Debian has one.
    words = [tool("hadolint"), "--no-color", "--ignore", "DL3013", "--ignore", "DL3008", str(file)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.parametrize("request_", [SERVICE, JOB, replace(JOB, storage="/mnt/50% of $it")])
def test_systemd_takes_the_unit(request_, tmp_path):
    text = files("systemd", request_)["digits.service"]
    assert "CPUQuota=250%" in text
    assert "KillMode=mixed" in text
    assert ("ExecStartPost" in text) is request_.serves
    analyze = tool("systemd-analyze")
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
