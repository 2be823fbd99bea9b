"""The attributes of a work item, as data: what must, may and must not be there (spec §2).

One table drives creation and update, and their tests. A row: tag, keyword, VR, code at creation,
code at update, and the macro of a sequence's items. Codes: PS3.4 CC.2.5; ``X`` is forbidden, ``E``
there and empty, ``.`` not looked at.

References
----------
PS3.4 Table CC.2.5-3; spec worklist.md §2.1, §2.2.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

from shared.dicom import tags

_TOP: Final = """
00081195 TransactionUID UI E . -
00080005 SpecificCharacterSet CS 1C/1C 1C/1C -
00080016 SOPClassUID UI 1/1 X -
00080018 SOPInstanceUID UI 1/1 X -
00741200 ScheduledProcedureStepPriority CS 1/1 3/1 -
00404010 ScheduledProcedureStepModificationDateTime DT 1/1 1/1 -
00741204 ProcedureStepLabel LO 1/1 3/1 -
00741202 WorklistLabel LO 2/1 3/1 -
00741210 ScheduledProcessingParametersSequence SQ 2/2 3/2 CONTENT
00404025 ScheduledStationNameCodeSequence SQ 2/2 3/2 CODE
00404026 ScheduledStationClassCodeSequence SQ 2/2 3/2 CODE
00404027 ScheduledStationGeographicLocationCodeSequence SQ 2/2 3/2 CODE
00404034 ScheduledHumanPerformersSequence SQ 2C/2C 3/2 PERFORMER
00404005 ScheduledProcedureStepStartDateTime DT 1/1 3/1 -
00404011 ExpectedCompletionDateTime DT 3/1 3/1 -
00404018 ScheduledWorkitemCodeSequence SQ 2/2 3/1 CODE
00400400 CommentsOnTheScheduledProcedureStep LT 2/2 3/1 -
00404041 InputReadinessState CS 1/1 3/1 -
00404021 InputInformationSequence SQ 2/2 3/2 REFINST
0020000D StudyInstanceUID UI 1C/2 3/2 -
00404070 OutputDestinationSequence SQ 3/3 3/3 OUTDEST
00100010 PatientName PN 2/2 X -
00100020 PatientID LO 1C/2 X -
00100021 IssuerOfPatientID LO 2/2 X -
00100024 IssuerOfPatientIDQualifiersSequence SQ 2/2 X ISSUERQ
00101002 OtherPatientIDsSequence SQ 2/2 3/3 OTHERPID
00100030 PatientBirthDate DA 2/2 X -
00100040 PatientSex CS 2/2 X -
00101100 ReferencedPatientPhotoSequence SQ 3/3 3/3 REFINST
00380010 AdmissionID LO 2/2 X -
00380014 IssuerOfAdmissionIDSequence SQ 2/2 X HL7DES
00081080 AdmittingDiagnosesDescription LO 2/2 X -
00081084 AdmittingDiagnosesCodeSequence SQ 2/2 X CODE
0040A370 ReferencedRequestSequence SQ 2/2 X REQUEST
00741224 ReplacedProcedureStepSequence SQ 1C/1C X SOPREF
00102000 MedicalAlerts LO 3/2 3/2 -
001021C0 PregnancyStatus US 3/2 3/2 -
00380050 SpecialNeeds LO 3/2 3/2 -
00741000 ProcedureStepState CS 1/1 X -
00741002 ProcedureStepProgressInformationSequence SQ 2/2 3/2 PROGRESS
00741216 UnifiedProcedureStepPerformedProcedureSequence SQ 2/2 3/2 PERFORMED
"""

_OPTIONAL: Final = """
InstanceCreationDate InstanceCreationTime InstanceCoercionDateTime InstanceCreatorUID
RelatedGeneralSOPClassUID OriginalSpecializedSOPClassUID CodingSchemeIdentificationSequence
ContextGroupIdentificationSequence MappingResourceIdentificationSequence TimezoneOffsetFromUTC
ContributingEquipmentSequence InstanceNumber SOPInstanceStatus SOPAuthorizationDateTime
SOPAuthorizationComment AuthorizationEquipmentCertificationNumber MACParametersSequence
DigitalSignaturesSequence EncryptedAttributesSequence OriginalAttributesSequence
HL7StructuredDocumentReferenceSequence LongitudinalTemporalInformationModified
QueryRetrieveView ConversionSourceAttributesSequence ContentQualification
PrivateDataElementCharacteristicsSequence InstanceOriginStatus BarcodeValue
ReferencedDefinedProtocolSequence ReferencedPerformedProtocolSequence
ScheduledProcedureStepExpirationDateTime TypeOfPatientID PatientBirthDateInAlternativeCalendar
PatientDeathDateInAlternativeCalendar PatientAlternativeCalendar ReasonForVisit
ReasonForVisitCodeSequence PatientAge Occupation
ConfidentialityConstraintOnPatientDataDescription PatientBirthTime QualityControlSubject
PatientInsurancePlanCodeSequence PatientPrimaryLanguageCodeSequence PatientSize PatientWeight
PatientSizeCodeSequence PatientAddress MilitaryRank BranchOfService CountryOfResidence
RegionOfResidence PatientTelephoneNumbers PatientTelecomInformation EthnicGroup
PatientReligiousPreference PatientComments ResponsiblePerson ResponsiblePersonRole
ResponsibleOrganization PatientSpeciesDescription PatientSpeciesCodeSequence
PatientBreedDescription PatientBreedCodeSequence BreedRegistrationSequence StrainDescription
StrainNomenclature StrainCodeSequence StrainAdditionalInformation StrainStockSequence
GeneticModificationsSequence Allergies SmokingStatus AdditionalPatientHistory LastMenstrualDate
PatientSexNeutered PatientBodyMassIndex MeasuredAPDimension MeasuredLateralDimension
PatientState PertinentDocumentsSequence PertinentResourcesSequence
PatientClinicalTrialParticipationSequence InstitutionName InstitutionAddress
InstitutionCodeSequence InstitutionalDepartmentName InstitutionalDepartmentTypeCodeSequence
ServiceEpisodeID IssuerOfServiceEpisodeIDSequence ServiceEpisodeDescription VisitStatusID
CurrentPatientLocation PatientInstitutionResidence VisitComments ReferringPhysicianName
ReferringPhysicianAddress ReferringPhysicianTelephoneNumbers
ReferringPhysicianIdentificationSequence ConsultingPhysicianName
ConsultingPhysicianIdentificationSequence RouteOfAdmissions AdmittingDate AdmittingTime
"""
"""Attributes that may be left out, and are refused when empty: by keyword."""

_MACROS: Final = """
CODE 00080104 1/1 1/1 -
CODE 00080100 1C/1C 1C/1C -
CODE 00080102 1C/1C 1C/1C -
CODE 00080103 1C/1C 1C/1C -
CODE 00080119 1C/1C 1C/1C -
CODE 00080120 1C/1C 1C/1C -
CODE 00080105 3/3 3/3 -
CODE 00080118 3/3 3/3 -
CODE 00080106 3/3 3/3 -
CODE 0008010B 3/3 3/3 -
CODE 00080107 3/3 3/3 -
CODE 0008010D 3/3 3/3 -
CONTENT 0040A040 1/1 1/1 -
CONTENT 0040A043 1/1 1/1 CODE
CONTENT 0040A120 1C/1C 1C/1C -
CONTENT 0040A121 1C/1C 1C/1C -
CONTENT 0040A122 1C/1C 1C/1C -
CONTENT 0040A123 1C/1C 1C/1C -
CONTENT 0040A124 1C/1C 1C/1C -
CONTENT 0040A160 1C/1C 1C/1C -
CONTENT 0040A168 1C/1C 1C/1C CODE
CONTENT 0040A30A 1C/1C 1C/1C -
CONTENT 004008EA 1C/1C 1C/1C CODE
REFINST 0040E020 1/1 1/1 -
REFINST 0020000D 1C/1 1C/1 -
REFINST 0020000E 1C/1 1C/1 -
REFINST 00081199 1/1 1/1 REFSOP
REFSOP 00081150 1/1 1/1 -
REFSOP 00081155 1/1 1/1 -
REFSOP 0040E001 1C/1 1C/1 -
REFSOP 00081160 1C/1 1C/1 -
REFSOP 0062000B 1C/1 1C/1 -
REFINST 0040E021 1C/1 1C/1 -
REFINST.0040E021 00080054 1/1 1/1 -
REFINST 0040E022 1C/1 1C/1 -
REFINST.0040E022 00880130 2/2 2/2 -
REFINST.0040E022 00880140 1/1 1/1 -
REFINST 0040E023 1C/1 1C/1 -
REFINST.0040E023 0040E010 1/1 1/1 -
REFINST 0040E024 1C/1 1C/1 -
REFINST.0040E024 0040E030 1/1 1/1 -
REFINST.0040E024 0040E031 3/2 3/2 -
REFINST 0040E025 1C/1 1C/1 -
REFINST.0040E025 00081190 1/1 1/1 -
PERFORMER 00404009 1/1 1/1 CODE
PERFORMER 00404037 1/1 1/1 -
PERFORMER 00404036 1/1 1/1 -
OUTDEST 00081150 1C/1 1C/1 -
OUTDEST 00404071 1C/1 1C/1 -
OUTDEST.00404071 21000140 1/1 1/1 -
OUTDEST 00404072 1C/1 1C/1 -
OUTDEST.00404072 00404073 1/1 1/1 -
OUTDEST 00404074 1C/1 1C/1 -
OUTDEST.00404074 0040E030 1/1 1/1 -
OUTDEST.00404074 0040E031 3/2 3/2 -
HL7DES 00400031 1C/1 1C/1 -
HL7DES 00400032 1C/1 1C/1 -
HL7DES 00400033 1C/1 1C/1 -
ISSUERQ 00400032 2/2 2/2 -
ISSUERQ 00400033 1C/1 1C/1 -
ISSUERQ 00400035 2/2 2/2 -
ISSUERQ 00400036 2/2 2/2 HL7DES
ISSUERQ 00400039 2/2 2/2 CODE
ISSUERQ 0040003A 2/2 2/2 CODE
OTHERPID 00100020 1/1 1/1 -
OTHERPID 00100021 2/2 X -
OTHERPID 00100024 2/2 X ISSUERQ
OTHERPID 00100022 3/3 3/3 -
SOPREF 00081150 1/1 1/1 -
SOPREF 00081155 1/1 1/1 -
REQUEST 0020000D 1/1 1/1 -
REQUEST 00080050 2/2 2/2 -
REQUEST 00080051 2/2 2/2 HL7DES
REQUEST 00402016 3/1 3/1 -
REQUEST 00400026 2/2 2/2 HL7DES
REQUEST 00402017 3/1 3/1 -
REQUEST 00400027 2/2 2/2 HL7DES
REQUEST 00401001 2/2 2/2 -
REQUEST 00321060 2/2 2/2 -
REQUEST 00321064 2/2 2/2 CODE
REQUEST 00401002 3/3 3/3 -
REQUEST 0040100A 3/3 3/3 CODE
REQUEST 00401400 3/3 3/3 -
REQUEST 00401008 3/3 3/3 -
REQUEST 00401010 3/3 3/3 -
REQUEST 00402400 3/3 3/3 -
REQUEST 00321032 3/3 3/3 -
REQUEST 00321033 3/1 3/1 -
REQUEST 00321034 3/3 3/3 CODE
REQUEST 00402004 3/3 3/3 -
REQUEST 00402005 3/3 3/3 -
REQUEST 00080090 3/3 3/3 -
PROGRESS 00741004 X 3/1 -
PROGRESS 00741006 X 3/1 -
PROGRESS 00741007 X 3/3 PARAMETER
PARAMETER 00400441 3/3 3/3 CONTENT
PROGRESS 00741008 X 3/1 -
PROGRESS.00741008 0074100A X 1/1 -
PROGRESS.00741008 0074100C X 3/1 -
PROGRESS 00404052 X 3/1 -
PROGRESS 00741238 X 3/1 -
PROGRESS 0074100E X 3/1 CODE
PERFORMED 00404035 X 3/1 -
PERFORMED.00404035 00404009 X 3/1 CODE
PERFORMED.00404035 00404037 X 3/1 -
PERFORMED.00404035 00404036 X 3/1 -
PERFORMED 00404028 X 3/2 CODE
PERFORMED 00404029 X 3/2 CODE
PERFORMED 00404030 X 3/2 CODE
PERFORMED 00404050 X 3/1 -
PERFORMED 00400254 X 3/1 -
PERFORMED 00400280 X 3/1 -
PERFORMED 00404019 X 3/1 CODE
PERFORMED 00741212 X 3/1 CONTENT
PERFORMED 00404051 X 3/1 -
PERFORMED 00404033 X 2/2 REFINST
"""
"""Items of sequences: macro (with the sequence within it), tag, codes, macro of the items below."""

ANY: Final = "ANY"
"""The macro of which every attribute is 3/3, at any depth."""


@dataclass(frozen=True, slots=True)
class Row:
    """An attribute: its codes at creation and update, and the macro of its items."""

    tag: int
    keyword: str
    vr: str
    create: str
    update: str
    items: str = ""

    def code(self, *, creating: bool) -> str:
        """The code that holds."""
        return self.create if creating else self.update


def _top() -> tuple[Row, ...]:
    rows = []
    for line in _TOP.split("\n"):
        if line:
            tag, keyword, vr, create, update, items = line.split()
            rows.append(Row(int(tag, 16), keyword, vr, create, update, items.strip("-")))
    for keyword in _OPTIONAL.split():
        found = tags.tag_of(keyword)
        if found is None:
            raise LookupError(f"{keyword} is not in the dictionary.")
        row = _row(found, "3/3", "3/3", "")
        rows.append(replace(row, items=ANY) if row.vr == "SQ" else row)
    return tuple(rows)


def _macros() -> dict[str, tuple[Row, ...]]:
    found: dict[str, list[Row]] = {}
    below: dict[tuple[str, str], str] = {}
    lines = [line.split() for line in _MACROS.split("\n") if line]
    for macro, *_ in lines:
        if "." in macro:
            above, _, tag = macro.partition(".")
            below[above, tag] = macro
    for macro, tag, create, update, items in lines:
        nested = below.get((macro, tag)) or items.strip("-")
        found.setdefault(macro, []).append(_row(int(tag, 16), create, update, nested))
    found["PARAMETER"][:0] = found["CONTENT"]  # which it includes
    return {macro: tuple(rows) for macro, rows in found.items()}


def _row(tag: int, create: str, update: str, items: str) -> Row:
    """A row whose keyword and VR are those of the dictionary."""
    known = tags.entry(tag)
    if known is None:
        raise LookupError(f"{tags.text(tag)} is not in the dictionary.")
    return Row(tag, known.keyword, known.vr, create, update, items)


TOP: Final = _top()
MACROS: Final = MappingProxyType(_macros())

FINAL: Final = MappingProxyType(
    {
        "COMPLETED": (
            0x00741216, (0x00404028, 0x00404050, 0x00404019, 0x00404051, 0x00404033),
        ),
        "CANCELED": (0x00741002, (0x00404052, 0x0074100E)),
    }
)  # fmt: skip
"""What a final state needs: a sequence with items, and what each of these must have (spec §2.3)."""

ALWAYS: Final = (
    0x00080016, 0x00080018, 0x00741200, 0x00404010, 0x00404005, 0x00404041, 0x00741000,
)  # fmt: skip
"""What each final state needs at the top level."""

RETURNED: Final = frozenset(
    {
        0x00080005, 0x00080016, 0x00080018, 0x00741200, 0x00741204, 0x00741202, 0x00741210,
        0x00404025, 0x00404026, 0x00404027, 0x00404034, 0x00404005, 0x00404018, 0x00404041,
        0x00404021, 0x0020000D, 0x00100010, 0x00100020, 0x00100021, 0x00100024, 0x00101002,
        0x00100030, 0x00100040, 0x00380010, 0x00380014, 0x00081080, 0x00081084, 0x0040A370,
        0x00102000, 0x001021C0, 0x00380050, 0x00741000, 0x00741002,
    }
)  # fmt: skip
"""What search returns without ``includefield`` (spec §9.3)."""
