"""The fields that `heliostat deploy` may write: ray.io/v1 of KubeRay 1.4, and Kubernetes beneath it.

A digest, not KubeRay's own files, which have a megabyte: for each kind its fields with their types,
and "!" behind those that are required. What is not here is refused, as `kubectl apply
--validate=strict` would, so a new field has to be looked up and written down first.
"""

QUANTITY = r"(\d+(\.\d*)?|\.\d+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?\d+)?"  # of resources
LABEL = r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?"

FIELDS = {
    "RayCluster": {
        "apiVersion!": "ray.io/v1",
        "kind!": str,
        "metadata!": "Meta",
        "spec!": "Cluster",
    },
    "RayJob": {"apiVersion!": "ray.io/v1", "kind!": str, "metadata!": "Meta", "spec!": "Job"},
    "Cluster": {
        "headGroupSpec!": "Head",
        "workerGroupSpecs": ["Workers"],
        "rayVersion": str,
        "enableInTreeAutoscaling": bool,
        "autoscalerOptions": "Autoscaler",
        "headServiceAnnotations": {"*": str},
        "suspend": bool,
    },
    "Autoscaler": {
        "idleTimeoutSeconds": int,
        "upscalingMode": ("Default", "Aggressive", "Conservative"),
        "image": str,
    },
    "Head": {
        "rayStartParams!": {"*": str},
        "template!": "PodTemplate",
        "enableIngress": bool,
        "serviceType": str,
    },
    "Workers": {
        "groupName!": str,
        "replicas": int,
        "minReplicas!": int,
        "maxReplicas!": int,
        "numOfHosts": int,
        "idleTimeoutSeconds": int,
        "rayStartParams!": {"*": str},
        "template!": "PodTemplate",
    },
    "Job": {
        "entrypoint": str,
        "submissionMode": ("K8sJobMode", "HTTPMode", "InteractiveMode"),
        "shutdownAfterJobFinishes": bool,
        "ttlSecondsAfterFinished": int,
        "activeDeadlineSeconds": int,
        "backoffLimit": int,
        "runtimeEnvYAML": str,
        "rayClusterSpec": "Cluster",
        "suspend": bool,
    },
    # Kubernetes
    "Deployment": {"apiVersion!": "apps/v1", "kind!": str, "metadata!": "Meta", "spec!": "Rollout"},
    "Rollout": {
        "replicas": int,
        "strategy": {"type": ("Recreate", "RollingUpdate")},
        "selector!": {"matchLabels": {"*": str}},
        "template!": "PodTemplate",
    },
    "Service": {"apiVersion!": "v1", "kind!": str, "metadata!": "Meta", "spec!": "Ports"},
    "Ports": {"selector": {"*": str}, "ports": [{"name": str, "port!": int, "targetPort": str}]},
    "PersistentVolumeClaim": {
        "apiVersion!": "v1",
        "kind!": str,
        "metadata!": "Meta",
        "spec!": "Claim",
    },
    "Claim": {
        "accessModes!": [("ReadWriteMany", "ReadWriteOnce")],
        "resources!": {"requests!": {"storage!": QUANTITY}},
        "storageClassName": str,
    },
    "Meta": {"name": LABEL, "labels": {"*": str}, "annotations": {"*": str}},
    "PodTemplate": {"metadata": "Meta", "spec!": "Pod"},
    "Pod": {
        "containers!": ["Container"],
        "volumes": ["Volume"],
        "securityContext": {"fsGroup": int, "runAsUser": int},
        "terminationGracePeriodSeconds": int,
        "serviceAccountName": str,
    },
    "Container": {
        "name!": LABEL,
        "image": str,
        "command": [str],
        "args": [str],
        "env": [{"name!": str, "value": str}],
        "envFrom": [{"secretRef": {"name": LABEL}}],
        "ports": [{"name": LABEL, "containerPort!": int}],
        "resources": {"requests": {"*": QUANTITY}, "limits": {"*": QUANTITY}},
        "volumeMounts": [{"name!": LABEL, "mountPath!": str}],
        "startupProbe": "Probe",
        "readinessProbe": "Probe",
        "livenessProbe": "Probe",
        "lifecycle": {"preStop": {"exec": {"command": [str]}}},
    },
    "Probe": {
        "httpGet": {"path": str, "port!": int},
        "timeoutSeconds": int,
        "periodSeconds": int,
        "failureThreshold": int,
        "initialDelaySeconds": int,
    },
    "Volume": {
        "name!": LABEL,
        "emptyDir": {"medium": ("", "Memory"), "sizeLimit": QUANTITY},
        "persistentVolumeClaim": {"claimName!": LABEL, "readOnly": bool},
    },
}
