"""What a tenant says about its FHIR server, and how its studies are to be mapped.

``DICOM_CAST`` holds one JSON object: tenant → members as below. Secrets are not in it; it names the
setting that has one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args, get_origin, get_type_hints

Auth = Literal["none", "managedIdentity", "clientCredentials"]
FhirVersion = Literal["R4", "R5"]
Codes = Literal["compatible", "standard"]
Patients = Literal["write", "create", "link"]


class CastSettingWrong(Exception):
    """``DICOM_CAST`` cannot be used; the message names the tenant and the member."""


@dataclass(frozen=True, slots=True)
class CastSettings:
    """DICOMcast of one tenant.

    Parameters
    ----------
    fhir_url : str
        Base of the FHIR server, without trailing slash.
    enabled : bool
        Whether changes are taken over. What happens meanwhile is made up for when it is turned on.
    auth : {"none", "managedIdentity", "clientCredentials"}
        How the service signs in there.
    audience : str
        Whom the token is for; ``fhir_url`` if empty.
    client_id : str
        Of the user-assigned identity, or of the client.
    authority_tenant : str
        Directory of the client (``clientCredentials``).
    secret_setting : str
        Name of the app setting that holds the client's secret.
    patient_system : str
        System of the patient's identifier; ``{partition}`` stands for the data partition.
    use_issuer : bool
        Whether IssuerOfPatientID is the system instead.
    patients : {"write", "create", "link"}
        Patients are made and kept up to date; made if they are not there, and never changed; or
        only referred to.
    strict : bool
        Whether an instance with an invalid optional value is refused.
    observations : bool
        Whether dose reports become Observations.
    fhir_version : {"R4", "R5"}
        Shape of ImagingStudy and Endpoint.
    codes : {"compatible", "standard"}
        Codings of modality and SOP class as DICOM Cast wrote them, or as FHIR has them.
    """

    fhir_url: str
    enabled: bool = True
    auth: Auth = "none"
    audience: str = ""
    client_id: str = ""
    authority_tenant: str = ""
    secret_setting: str = ""
    patient_system: str = ""
    use_issuer: bool = False
    patients: Patients = "write"
    strict: bool = False
    observations: bool = True
    fhir_version: FhirVersion = "R4"
    codes: Codes = "compatible"


def parse_cast(text: str) -> dict[str, CastSettings]:
    """The settings of each tenant that has some.

    Raises
    ------
    CastSettingWrong
        It is no JSON, or a member is unknown, missing or of another type.
    """
    try:
        tenants = json.loads(text or "{}")
    except ValueError:
        raise CastSettingWrong("DICOM_CAST is not JSON") from None
    if not isinstance(tenants, dict):
        raise CastSettingWrong("DICOM_CAST must be an object: tenant → settings")
    return {name: _one(name, members) for name, members in tenants.items()}


def _one(tenant: str, members: Any) -> CastSettings:
    if not isinstance(members, Mapping):
        raise CastSettingWrong(f"DICOM_CAST: {tenant} must be an object")
    types = get_type_hints(CastSettings)
    names = {_camel(one.name): one.name for one in fields(CastSettings)}
    given: dict[str, Any] = {}
    for member, value in members.items():
        if member not in names:
            raise CastSettingWrong(f"DICOM_CAST: {tenant} has the unknown member {member}")
        type_ = types[names[member]]
        choices = get_args(type_) if get_origin(type_) is Literal else ()
        if value not in choices if choices else not isinstance(value, type_):
            wanted = " or ".join(choices) if choices else type_.__name__
            raise CastSettingWrong(f"DICOM_CAST: {tenant}.{member} must be {wanted}")
        given[names[member]] = value
    url = str(given.get("fhir_url", "")).rstrip("/")
    if not url.startswith(("https://", "http://")):
        raise CastSettingWrong(f"DICOM_CAST: {tenant}.fhirUrl must be an address")
    return CastSettings(**{**given, "fhir_url": url})


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)
