"""A stand-in for the kubelet: serves its pod-resources and PodInfo APIs on unix sockets from a scenario file.

    kubelet.py FOLDER

Below FOLDER, as below a kubelet's own: `pod-resources/kubelet.sock`, `pods/kubelet.sock` where the scenario says so, and
`scenario.json`, which is read again at each call:

    {"pods": [{"namespace": "...", "name": "...", "uid": "...", "labels": {...}, "containers": [
        {"name": "...", "devices": [{"resource": "...", "ids": [...]}],
         "claims": [{"driver": "...", "device": "...", "share": null | "...", "cdi": [...]}]}]}],
     "pod_info": false,
     "mark": null | number,
     "fault": null | "hang" | "garbage" | "flood" | {"slow": seconds} | {"status": "PERMISSION_DENIED"}}

The messages are made at run time from the tables below and sent by Google's gRPC, so that nothing here shares code with
what it tests. Fields that accelscope does not read are filled too: a real kubelet fills them. With a mark, each list of
devices prints `lists MARK` before it is made.
"""

import json
import pathlib
import sys
import threading
import time
from concurrent import futures

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

INT64, UINT64, STRING, MESSAGE, BYTES = 3, 4, 9, 11, 12
ONE, MANY, OPTIONAL = 1, 3, 0

# Message: fields with number, cardinality and type. kubelet, pkg/apis/podresources/v1/api.proto.
POD_RESOURCES = {
    "ListPodResourcesRequest": {},
    "ListPodResourcesResponse": {"pod_resources": (1, MANY, "PodResources")},
    "PodResources": {
        "name": (1, ONE, STRING),
        "namespace": (2, ONE, STRING),
        "containers": (3, MANY, "ContainerResources"),
        "cpu_ids": (4, MANY, INT64),
        "memory": (5, MANY, "ContainerMemory"),
    },
    "ContainerResources": {
        "name": (1, ONE, STRING),
        "devices": (2, MANY, "ContainerDevices"),
        "cpu_ids": (3, MANY, INT64),
        "memory": (4, MANY, "ContainerMemory"),
        "dynamic_resources": (5, MANY, "DynamicResource"),
    },
    "ContainerMemory": {
        "memory_type": (1, ONE, STRING),
        "size": (2, ONE, UINT64),
        "topology": (3, ONE, "TopologyInfo"),
    },
    "ContainerDevices": {
        "resource_name": (1, ONE, STRING),
        "device_ids": (2, MANY, STRING),
        "topology": (3, ONE, "TopologyInfo"),
    },
    "TopologyInfo": {"nodes": (1, MANY, "NUMANode")},
    "NUMANode": {"ID": (1, ONE, INT64)},
    "DynamicResource": {
        "claim_name": (2, ONE, STRING),
        "claim_namespace": (3, ONE, STRING),
        "claim_resources": (4, MANY, "ClaimResource"),
    },
    "ClaimResource": {
        "cdi_devices": (1, MANY, "CDIDevice"),
        "driver_name": (2, ONE, STRING),
        "pool_name": (3, ONE, STRING),
        "device_name": (4, ONE, STRING),
        "share_id": (5, OPTIONAL, STRING),
    },
    "CDIDevice": {"name": (1, ONE, STRING)},
}

# kubelet, pkg/apis/pods/v1alpha1/api.proto, and of the core API's Pod what a decoder must pass over.
PODS = {
    "ListPodsRequest": {},
    "ListPodsResponse": {"pods": (1, MANY, BYTES)},
    "Pod": {"metadata": (1, ONE, "ObjectMeta"), "spec": (2, ONE, "PodSpec")},
    "ObjectMeta": {
        "name": (1, ONE, STRING),
        "generateName": (2, ONE, STRING),
        "namespace": (3, ONE, STRING),
        "uid": (5, ONE, STRING),
        "labels": (11, MANY, "Entry"),
        "annotations": (12, MANY, "Entry"),
    },
    # A map of protobuf is a list of these.
    "Entry": {"key": (1, ONE, STRING), "value": (2, ONE, STRING)},
    "PodSpec": {"containers": (2, MANY, "Container")},
    "Container": {"name": (1, ONE, STRING), "env": (7, MANY, "Entry")},
}

FLOOD = b"\x0a\x04\x0a\x02ab" * (3 << 20)


def messages(package, tables):
    """The classes of a package's messages."""
    file = descriptor_pb2.FileDescriptorProto(name=f"{package}.proto", package=package, syntax="proto3")
    for name, fields in tables.items():
        message = file.message_type.add(name=name)
        for field_name, (number, cardinality, kind) in fields.items():
            field = message.field.add(name=field_name, number=number, label=cardinality or 1)
            if isinstance(kind, str):
                field.type, field.type_name = MESSAGE, f".{package}.{kind}"
            else:
                field.type = kind
            if cardinality == OPTIONAL:
                field.proto3_optional, field.oneof_index = True, len(message.oneof_decl)
                message.oneof_decl.add(name=f"_{field_name}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.{name}")) for name in tables
    }


class Kubelet:
    """The scenario, and the responses that follow from it."""

    def __init__(self, folder):
        self.folder = folder
        self.resources = messages("v1", POD_RESOURCES)
        self.pods = messages("v1alpha1", PODS)

    def scenario(self):
        return json.loads((self.folder / "scenario.json").read_text())

    def list_resources(self):
        new, scenario = self.resources, self.scenario()
        if scenario.get("mark") is not None:
            print("lists", scenario["mark"], flush=True)
        response = new["ListPodResourcesResponse"]()
        for pod in scenario["pods"]:
            listed = response.pod_resources.add(name=pod["name"], namespace=pod["namespace"], cpu_ids=[1, 2])
            listed.memory.add(memory_type="memory", size=1 << 30)
            for container in pod["containers"]:
                in_pod = listed.containers.add(name=container["name"], cpu_ids=[3])
                in_pod.memory.add(memory_type="hugepages-2Mi", size=1 << 21).topology.nodes.add(ID=1)
                for device in container.get("devices", []):
                    given = in_pod.devices.add(resource_name=device["resource"], device_ids=device["ids"])
                    given.topology.nodes.add(ID=0)
                for claim in container.get("claims", []):
                    claimed = in_pod.dynamic_resources.add(claim_name="gpu", claim_namespace=pod["namespace"])
                    resource = claimed.claim_resources.add(
                        driver_name=claim["driver"], pool_name="node1", device_name=claim["device"]
                    )
                    if claim.get("share"):
                        resource.share_id = claim["share"]
                    for name in claim.get("cdi", []):
                        resource.cdi_devices.add(name=name)
        return response.SerializeToString()

    def list_pods(self):
        new = self.pods
        response = new["ListPodsResponse"]()
        for pod in self.scenario()["pods"]:
            known = new["Pod"]()
            meta = known.metadata
            meta.name, meta.generateName, meta.namespace = pod["name"], "x-", pod["namespace"]
            meta.uid = pod.get("uid", "")
            for key, value in pod.get("labels", {}).items():
                meta.labels.add(key=key, value=value)
            meta.annotations.add(key="secret", value="not for export")
            known.spec.containers.add(name="c").env.add(key="TOKEN", value="not for export")
            response.pods.append(known.SerializeToString())
        return response.SerializeToString()

    def respond(self, respond, request, context):
        if request:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the request has no fields")
        fault = self.scenario().get("fault")
        if fault == "hang":
            while context.is_active():
                time.sleep(0.05)
        elif fault == "garbage":
            return b"\xff\xff\xff\xff"
        elif fault == "flood":
            return FLOOD
        elif fault and "status" in fault:
            context.abort(grpc.StatusCode[fault["status"]], "as the scenario says")
        elif fault:
            time.sleep(fault["slow"])
        return respond()

    def serve(self, name, service, function, respond):
        (self.folder / name).mkdir(parents=True, exist_ok=True)
        handler = grpc.unary_unary_rpc_method_handler(
            lambda request, context: self.respond(respond, request, context)
        )
        server = grpc.server(futures.ThreadPoolExecutor(max_workers=8))
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {function: handler}),))
        server.add_insecure_port(f"unix:{self.folder / name / 'kubelet.sock'}")
        server.start()
        return server


def main():
    kubelet = Kubelet(pathlib.Path(sys.argv[1]))
    servers = [kubelet.serve("pod-resources", "v1.PodResourcesLister", "List", kubelet.list_resources)]
    if kubelet.scenario().get("pod_info"):
        servers.append(kubelet.serve("pods", "v1alpha1.Pods", "ListPods", kubelet.list_pods))
    print("serving", flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
