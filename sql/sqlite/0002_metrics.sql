-- Metrics: series of values in time.

-- In the order in which their keys were first put.
CREATE TABLE series (
    id  INTEGER PRIMARY KEY AUTOINCREMENT,
    key TEXT    NOT NULL UNIQUE CHECK (key <> '')
) STRICT;

-- ANY keeps the bits of a float: REAL would make 0.0 of -0.0. No reference to series, which would be looked up for
-- each point: whoever writes here holds the whole file's lock, and points go before their series.
CREATE TABLE points (
    series INTEGER NOT NULL, -- series.id
    second INTEGER NOT NULL, -- since 1970
    value  ANY     NOT NULL CHECK (typeof(value) = 'real' AND value > -9e999 AND value < 9e999), -- 9e999: infinite
    PRIMARY KEY (series, second)
) STRICT, WITHOUT ROWID;
