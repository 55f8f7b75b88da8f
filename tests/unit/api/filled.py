"""Messages with every field set, made by reflection."""

from __future__ import annotations

from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

# A condition compares with single values; `string_list` is the last alternative of a Value.
_SCALAR_VALUES_IN = {"Condition", "ValueList", "Range"}
_TEXT, _BYTES, _BOOL, _ENUM, _MESSAGE = (
    FieldDescriptor.TYPE_STRING,
    FieldDescriptor.TYPE_BYTES,
    FieldDescriptor.TYPE_BOOL,
    FieldDescriptor.TYPE_ENUM,
    FieldDescriptor.TYPE_MESSAGE,
)


def filled(kind: type[Message], pick: int) -> Any:
    """Every field set to something that is not its default; of each oneof and enum the `pick`-th alternative, counted round."""
    message = kind()
    _fill(message, pick, scalar_values=False)
    return message


def unset_fields(message: Message, path: str = "") -> list[str]:
    """Paths of the fields that are not set; of a oneof one alternative is enough."""
    unset = []
    present = {field.name for field, _ in message.ListFields()}
    for field in message.DESCRIPTOR.fields:
        oneof = field.containing_oneof
        if field.name not in present and not (oneof and not oneof.name.startswith("_") and message.WhichOneof(oneof.name)):
            unset.append(f"{path}{field.name}")
    for field, value in message.ListFields():
        if field.type == _MESSAGE and not _is_map(field):
            for item in value if field.is_repeated else [value]:
                unset += unset_fields(item, f"{path}{field.name}.")
    return unset


def _fill(message: Message, pick: int, *, scalar_values: bool) -> None:
    descriptor = message.DESCRIPTOR
    if descriptor.full_name == "google.protobuf.Timestamp":
        message.seconds, message.nanos = 1_700_000_000, 5000  # type: ignore[attr-defined]
        return
    skipped = set()
    for oneof in descriptor.oneofs:
        if not oneof.name.startswith("_"):
            count = len(oneof.fields) - (1 if scalar_values and descriptor.name == "Value" else 0)
            skipped |= {field.name for field in oneof.fields} - {oneof.fields[pick % count].name}
    inner = scalar_values or descriptor.name in _SCALAR_VALUES_IN
    for field in descriptor.fields:
        if field.name in skipped:
            continue
        target = getattr(message, field.name)
        if _is_map(field):
            value_field = field.message_type.fields_by_name["value"]
            if value_field.type == _MESSAGE:
                _fill(target["key"], pick, scalar_values=inner)
            else:
                target["key"] = _scalar(value_field, pick)
        elif field.is_repeated and field.type == _MESSAGE:
            for _ in range(2):
                _fill(target.add(), pick, scalar_values=inner)
        elif field.is_repeated:
            target.extend([_scalar(field, pick), _scalar(field, pick + 1)])
        elif field.type == _MESSAGE:
            target.SetInParent()
            _fill(target, pick, scalar_values=inner)
        else:
            setattr(message, field.name, _scalar(field, pick))


def _is_map(field: FieldDescriptor) -> bool:
    return field.type == _MESSAGE and field.message_type.GetOptions().map_entry


def _scalar(field: FieldDescriptor, pick: int) -> Any:
    if field.type == _TEXT:
        return f"{field.name} Ω {pick}"
    if field.type == _BYTES:
        return bytes([0, 255, pick])
    if field.type == _BOOL:
        return True
    if field.type == _ENUM:
        values = [value.number for value in field.enum_type.values if value.number]
        return values[pick % len(values)]
    # Milliseconds and seconds turn into each other without loss.
    return 250.0 * (pick + 1) if field.cpp_type == FieldDescriptor.CPPTYPE_DOUBLE else field.number + pick + 1
