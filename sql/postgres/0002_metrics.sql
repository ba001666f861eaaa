-- Metrics: series of values in time.

-- In the order in which their keys were first put.
CREATE TABLE series (
    id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key text   COLLATE "C" NOT NULL UNIQUE CHECK (key <> '')
);

-- One row: how many rows series has, as vm_total says of vms.
CREATE TABLE series_total (
    is_only boolean PRIMARY KEY DEFAULT true CHECK (is_only),
    series  bigint  NOT NULL
);

INSERT INTO series_total (series) VALUES (0);

-- No reference to series: it would be looked up and locked for each point. Whoever puts points locks their series
-- once (FOR KEY SHARE), and a series is removed by who has locked it and then finds no points.
CREATE TABLE points (
    series bigint           NOT NULL, -- series.id
    second bigint           NOT NULL, -- since 1970
    value  double precision NOT NULL CHECK (abs(value) < 'Infinity'),
    PRIMARY KEY (series, second)
);
