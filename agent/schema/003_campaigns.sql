-- Adds the updates of devices: one row a campaign as it stands, one row a device in it.
CREATE TABLE IF NOT EXISTS ota_campaigns (
    key TEXT PRIMARY KEY,           -- component, version and hash of its image
    kind TEXT NOT NULL,             -- zigbee, zwave, ble, coap
    over INTEGER NOT NULL,          -- 1 when its end was told
    spent REAL NOT NULL             -- seconds that it has taken, over all starts of the hub
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS ota_devices (
    campaign TEXT NOT NULL,
    radio TEXT NOT NULL,
    device TEXT NOT NULL,           -- its key at the radio
    state TEXT NOT NULL,            -- waiting, done, failed, missed, gone
    before INTEGER NOT NULL,        -- version that it had
    tries INTEGER NOT NULL,         -- that ended in the middle
    detail TEXT NOT NULL,           -- why it is as it is, for people
    at REAL NOT NULL,               -- wall seconds of the last change
    PRIMARY KEY (campaign, radio, device)
) WITHOUT ROWID;
