"""A hub that is provisioned by its claim: its configuration, and the claim's files."""

from pathlib import Path

from standin_rig import Cloud

CONFIG = """
[hub]
state_dir = "{folder}/state"
runtime_dir = "{folder}/run"
[uplinks.main]
host = "{host}"
port = {port}
ca = "{ca}"
[identity]
serial = "{serial}"
product_code = "{code}"
template = "claims"
claim_certificate = "{claim}/claim.pem"
claim_key = "{claim}/claim.key"
"""


def claim_files(cloud: Cloud, folder: Path) -> Path:
    profile = cloud.api.create_provisioning_profile(ProvisioningType="FLEET_PROVISIONING", Name="claims")
    (folder / "claim.pem").write_text(profile["ClaimCertificate"])
    (folder / "claim.key").write_text(profile["ClaimCertificatePrivateKey"])
    (folder / "claim.key").chmod(0o600)
    return folder
