CREATE OR REPLACE TRIGGER {trigger} BEFORE {event} ON {table}
    FOR EACH ROW EXECUTE FUNCTION tidelock.{function}()
