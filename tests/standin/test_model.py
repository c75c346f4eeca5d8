"""Every action of the service model, called by boto3: what the model forbids is refused by field, what is missing is not found."""

import re
from collections.abc import Iterator
from typing import Any

import botocore.session
import pytest
from botocore.exceptions import ClientError
from botocore.model import OperationModel, Shape
from standin_rig import Cloud, client

pytestmark = pytest.mark.conformance

MODEL = botocore.session.get_session().get_service_model("iot-managed-integrations")
OPERATIONS = [MODEL.operation_model(name) for name in MODEL.operation_names]
SAMPLES = (
    "a1b2c3d4e5f6",
    "829576019524",
    "1.0.0",
    "matter.OnOff@1.4",
    "Name",
    "arn:aws:iotmanagedintegrations:eu-west-1:123456789012:managed-thing/a1b2c3d4e5f6",
    "arn:aws:kinesis:eu-west-1:123456789012:stream/things",
    "arn:aws:iam::123456789012:role/delivery",
    "arn:aws:lambda:eu-west-1:123456789012:function:connector",
    "arn:aws:secretsmanager:eu-west-1:123456789012:secret:name-a1b2c3",
    "managed-thing",
    "https://example.com/path",
    "AWSSecret",
    "-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----\n",
)

NOBODY = {"Name": "nobody", "EventType": "DEVICE_WSS", "SchemaVersionedId": "matter.Nothing@1.4"}


def sample(shape: Shape) -> Any:
    """A value that the model allows, with the required members only."""
    if getattr(shape, "enum", None):
        return shape.enum[0]
    match shape.type_name:
        case "structure":
            return {name: sample(shape.members[name]) for name in shape.required_members}
        case "list":
            return [sample(shape.member)] * max(1, shape.metadata.get("min", 0))
        case "map":
            return {sample(shape.key): sample(shape.value)}
        case "boolean":
            return True
        case "integer" | "long" | "float" | "double":
            return max(1, shape.metadata.get("min", 1))
        case "timestamp":
            return 1_700_000_000
    pattern, least, most = (
        shape.metadata.get(name, rule) for name, rule in (("pattern", ".*"), ("min", 0), ("max", 1000))
    )
    pattern = pattern.replace("\\p{L}\\p{N}", "\\w").replace("\\x{0022}", '"')
    return next(text for text in SAMPLES if re.fullmatch(pattern, text, re.DOTALL) and least <= len(text) <= most)


def call(api: Any, operation: OperationModel, parameters: dict[str, Any]) -> str:
    """The error's code and message, or an empty text."""
    try:
        getattr(api, botocore.xform_name(operation.name))(**parameters)
    except ClientError as error:
        return f"{error.response['Error']['Code']} {error.response['Error'].get('Message') or error.response.get('Message')}"
    return ""


def bad_parameters(operation: OperationModel) -> Iterator[tuple[str, dict[str, Any]]]:
    """(member, parameters) with one member that the model forbids."""
    if operation.input_shape is None:
        return
    good = sample(operation.input_shape)
    for name, member in operation.input_shape.members.items():
        if name in operation.input_shape.required_members and not member.serialization.get("location"):
            yield name, {key: value for key, value in good.items() if key != name}
        if member.type_name == "string" and "max" in member.metadata and member.serialization.get("location") != "uri":
            yield name, {**good, name: "a" * (member.metadata["max"] + 1)}
        if getattr(member, "enum", None) and member.serialization.get("location") != "uri":
            yield name, {**good, name: "NOT_IN_THE_ENUM"}


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_what_the_model_forbids_is_refused_with_the_fields_name(cloud: Cloud, operation: OperationModel) -> None:
    api = client(cloud.told["managed_integrations"], check=False)
    names = {shape.name for shape in operation.error_shapes}
    wanted = "ValidationException" if "ValidationException" in names else "InvalidRequestException"
    for member, parameters in bad_parameters(operation):
        answer = call(api, operation, parameters)
        assert answer.startswith(wanted), f"{member}: {answer}"
        assert f"'{member}'" in answer


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_every_action_answers_within_its_model(cloud: Cloud, operation: OperationModel) -> None:
    """With things that do not exist: an error that the action's model has, or a success; never another answer."""
    parameters = sample(operation.input_shape) if operation.input_shape is not None else {}
    parameters |= {
        name: value for name, value in NOBODY.items() if name in parameters and operation.name[:3] in ("Get", "Del")
    }
    if "DestinationName" in parameters:  # its absence is an error for which the model has no name
        create = MODEL.operation_model("CreateDestination")
        call(cloud.api, create, {**sample(create.input_shape), "Name": parameters["DestinationName"]})
    answer = call(cloud.api, operation, parameters)
    allowed = {shape.name for shape in operation.error_shapes} - {"InternalServerException", "InternalFailureException"}
    assert not answer or answer.split()[0] in allowed
    needs = any(shape.name == "ResourceNotFoundException" for shape in operation.error_shapes)
    if needs and operation.name.startswith(("Get", "Delete")) and "{" in operation.http["requestUri"]:
        assert answer.startswith("ResourceNotFoundException")
