CREATE OR REPLACE TRIGGER {trigger} {when} {event} ON {table}
    FOR EACH ROW EXECUTE FUNCTION tidelock.{function}()
