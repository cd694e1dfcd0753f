-- Long texts are compressed: a column of texts holds text or, compressed, a blob (texts.rs).
ALTER TABLE requests RENAME TO requests_before;
CREATE TABLE requests (run INTEGER PRIMARY KEY, text ANY NOT NULL) STRICT;
INSERT INTO requests SELECT run, text FROM requests_before;
DROP TABLE requests_before;

ALTER TABLE results RENAME TO results_before;
CREATE TABLE results (run INTEGER PRIMARY KEY, text ANY NOT NULL) STRICT;
INSERT INTO results SELECT run, text FROM results_before;
DROP TABLE results_before;

ALTER TABLE events RENAME TO events_before;
CREATE TABLE events (run INTEGER PRIMARY KEY, text ANY NOT NULL) STRICT;
INSERT INTO events SELECT run, text FROM events_before;
DROP TABLE events_before;
