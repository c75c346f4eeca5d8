"""Credential lockers, provisioning profiles and the custom endpoint: what exists before a hub does."""

from typing import Any

from agent.sim.authority import Authority, certificate_problem, fingerprint
from agent.sim.managed_integrations.world import Request, Result, World, new_id
from agent.sim.service_model import AwsError


class Onboarding:
    """Actions on lockers, profiles and the endpoint."""

    def __init__(self, world: World, authority: Authority) -> None:
        self._world = world
        self._authority = authority

    # ---- credential lockers -----------------------------------------------------------------------------------------

    def create_credential_locker(self, request: Request) -> Result:
        world, identifier = self._world, new_id()
        locker = {
            "Id": identifier,
            "Arn": world.arn("credential-locker", identifier),
            "Name": request.get("Name"),
            "CreatedAt": world.now(),
            "Tags": request.get("Tags", {}),
        }
        world.records.put("locker", identifier, locker)
        return world.pick("CreateCredentialLockerResponse", locker)

    def get_credential_locker(self, request: Request) -> Result:
        locker = self._world.need("locker", request["Identifier"], "Credential Locker")
        return self._world.pick("GetCredentialLockerResponse", locker)

    def list_credential_lockers(self, request: Request) -> Result:
        found, more = self._world.page("locker", request)
        return {"Items": [self._world.pick("CredentialLockerSummary", entry) for entry in found], **more}

    def delete_credential_locker(self, request: Request) -> None:
        world, identifier = self._world, request["Identifier"]
        world.need("locker", identifier, "Credential Locker")
        for thing in world.records.all("thing", CredentialLockerId=identifier):
            world.records.put("thing", thing["Id"], {**thing, "CredentialLockerId": None})
        world.records.delete("locker", identifier)

    # ---- provisioning profiles --------------------------------------------------------------------------------------

    def create_provisioning_profile(self, request: Request) -> Result:
        world, identifier = self._world, new_id()
        name = request.get("Name") or f"profile-{identifier[:12]}"
        if world.records.find("profile", Name=name) is not None:
            raise AwsError("ConflictException", f"A provisioning profile named {name} exists already.")
        profile: dict[str, Any] = {
            "Id": identifier,
            "Arn": world.arn("provisioning-profile", identifier),
            "Name": name,
            "ProvisioningType": request["ProvisioningType"],
            "Status": "CREATED",
            "Tags": request.get("Tags", {}),
        }
        key = self._claim(request, profile) if request["ProvisioningType"] == "FLEET_PROVISIONING" else None
        if request["ProvisioningType"] == "JITR":
            profile["CaCertificate"] = _good(request, "CaCertificate")
        world.records.put("profile", identifier, profile)
        answer = world.pick("CreateProvisioningProfileResponse", profile)
        return {**answer, "ClaimCertificatePrivateKey": key} if key else answer

    def _claim(self, request: Request, profile: dict[str, Any]) -> str | None:
        """Give the profile its claim certificate; the private key of one that we make is told once.

        Its answer is kept with its ClientToken, if it has one: the same call must have the same answer.
        """
        if "ClaimCertificate" in request:
            profile["ClaimCertificate"] = _good(request, "ClaimCertificate")
            profile["claimId"] = fingerprint(profile["ClaimCertificate"])
            if not self._authority.signed(profile["ClaimCertificate"]):
                text = (
                    "Value at 'ClaimCertificate': the stand-in's broker accepts claim certificates of its own CA only"
                )
                raise AwsError("ValidationException", text)
            return None
        certificate, key = self._authority.claim(f"claim-{profile['Id']}")
        profile |= {"ClaimCertificate": certificate, "claimId": fingerprint(certificate)}
        return key

    def get_provisioning_profile(self, request: Request) -> Result:
        profile = self._world.need("profile", request["Identifier"], "Provisioning Profile")
        return self._world.pick("GetProvisioningProfileResponse", profile)

    def list_provisioning_profiles(self, request: Request) -> Result:
        found, more = self._world.page("profile", request)
        return {"Items": [self._world.pick("ProvisioningProfileSummary", entry) for entry in found], **more}

    def delete_provisioning_profile(self, request: Request) -> None:
        self._world.need("profile", request["Identifier"], "Provisioning Profile")
        self._world.records.delete("profile", request["Identifier"])

    # ---- where devices connect --------------------------------------------------------------------------------------

    def register_custom_endpoint(self, _request: Request) -> Result:
        self._world.records.put("setting", "endpoint", {"EndpointAddress": self._world.endpoint})
        return {"EndpointAddress": self._world.endpoint}

    def get_custom_endpoint(self, _request: Request) -> Result:
        found = self._world.need("setting", "endpoint", "Custom Endpoint")
        return {"EndpointAddress": found["EndpointAddress"]}


def _good(request: Request, member: str) -> str:
    """A certificate that can be read and is valid. Raises AwsError with the member's name."""
    text = request.get(member)
    if text is None:
        raise AwsError("ValidationException", f"Value at '{member}' must not be null for this ProvisioningType")
    problem = certificate_problem(text)
    if problem:
        raise AwsError("ValidationException", f"Value at '{member}' {problem}")
    return str(text)
