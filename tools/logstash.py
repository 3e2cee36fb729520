"""Makes the Logstash pipeline that reads alerts.json: hids.conf, and hids.rb, which makes the documents that our own output makes."""

import json

from hids.core.alert.document import MAX_NAME, MAX_VALUE
from hids.core.alert.fields import CONSTANT, FIELDS, OTHER

CONF = """\
# Logstash: alerts.json -> Elasticsearch (or OpenSearch), the same documents that `type = "opensearch"` in manager.toml writes.
# Made by tools/fieldtable.py. Use one or the other: where both write, an alert is still there once, since the id is the same.
#
#   /etc/logstash/conf.d/hids.conf, and hids.rb as /etc/logstash/hids.rb; the index template of conf/elasticsearch or
#   conf/opensearch has to be there first. The user logstash must be able to read alerts.json: usermod -aG hids logstash

input {
  file {
    path => "/var/log/hids/alerts.json"
    start_position => "beginning"
    codec => plain { charset => "UTF-8" }
    sincedb_path => "/var/lib/logstash/hids.sincedb"
  }
}

filter {
  ruby { path => "/etc/logstash/hids.rb" }
}

output {
  if "_hids_no_alert" not in [tags] {
    # For OpenSearch: the plugin logstash-output-opensearch, with the same options but for the name.
    elasticsearch {
      hosts => ["https://search.example.org:9200"]
      user => "hids"
      password => "${HIDS_SEARCH_PASSWORD}"
      index => "hids-alerts-%{+YYYY.MM.dd}"
      action => "create"
      document_id => "%{[event][id]}"
      manage_template => false
      ilm_enabled => false
    }
  }
}
"""

_RUBY = """\
# An alert of hids -> a document with the names of the Elastic Common Schema. Made by tools/fieldtable.py; see hids.conf.
require "date"
require "ipaddr"
require "json"
require "time"

module Hids
  # Member of the alert, type, names in the document.
  FIELDS = JSON.parse(<<'TABLE')
%(fields)s
TABLE
  CONSTANT = JSON.parse(<<'TABLE')
%(constant)s
TABLE
  OTHER = "%(other)s"
  MAX_NAME = %(max_name)d
  MAX_VALUE = %(max_value)d
  MOMENT = /\\A(\\d{4})-(\\d\\d)-(\\d\\d)T([01]\\d|2[0-3])(:[0-5]\\d){2}(\\.\\d{1,9})?(Z|[+-]([01]\\d|2[0-3]):?[0-5]\\d)\\z/
  KNOWN = FIELDS.map { |member, _, _| member.split(".").first }.uniq

  module_function

  def document(alert)
    made = {}
    CONSTANT.each { |name, value| put(made, name, value) }
    FIELDS.each do |member, type, names|
      value = member.split(".").reduce(alert) { |at, part| at.is_a?(Hash) ? at[part] : nil }
      next if value.nil?
      said(type, names, value).each do |name, converted|
        name.start_with?("related.") ? collect(made, name, converted) : put(made, name, converted)
      end
    end
    other = alert.reject { |name, _| KNOWN.include?(name) }
    put(made, OTHER, JSON.generate(other)) unless other.empty?
    made
  end

  def said(type, names, value)
    if type == "address"
      address = address_of(text(value))
      found = names.flat_map do |name|
        [["#{name}.address", text(value)], address ? ["#{name}.ip", address] : ["#{name}.domain", text(value)]]
      end
      return found << (address ? ["related.ip", address] : ["related.hosts", text(value)])
    end
    converted = convert(type, value)
    converted.nil? ? [] : names.map { |name| [name, converted] }
  end

  def convert(type, value)
    case type
    when "keyword" then value.is_a?(Array) ? value.map { |each| text(each) } : text(value)
    when "text" then text(value)
    when "long" then value.to_s =~ /\\A-?[0-9]{1,18}\\z/ ? value.to_s.to_i : nil
    when "date" then moment(value.to_s)
    when "boolean" then value == true || value == false ? value : nil
    when "ip" then address_of(text(value))
    when "flat" then flat(value)
    end
  end

  def text(value)
    value.is_a?(String) ? value : JSON.generate(value)
  end

  def address_of(text)
    address, zone = text.split("%%", 2)
    return nil if zone && (zone.empty? || zone.include?("%%") || !address.include?(":"))
    return nil unless address =~ /\\A[0-9a-fA-F:.]+\\z/
    IPAddr.new(address)
    address
  rescue IPAddr::Error
    nil
  end

  def moment(text)
    parts = MOMENT.match(text)
    return nil unless parts && Date.valid_date?(parts[1].to_i, parts[2].to_i, parts[3].to_i)
    Time.parse(text).utc.strftime("%%Y-%%m-%%dT%%H:%%M:%%S.%%LZ")
  rescue ArgumentError
    nil
  end

  def flat(value)
    return nil unless value.is_a?(Hash)
    made = {}
    leaves(value, "") { |name, each| made[clean(name)] = text(each)[0, MAX_VALUE] }
    made.empty? ? nil : made
  end

  def leaves(value, prefix, &block)
    value.each do |name, each|
      each.is_a?(Hash) ? leaves(each, "#{prefix}#{name}.", &block) : block.call("#{prefix}#{name}", each)
    end
  end

  def clean(name)
    return "_" if name.empty?  # which split would lose
    name.tr("\\0", "_")[0, MAX_NAME].split(".", -1).map { |part| part.empty? ? "_" : part }.join(".")
  end

  def put(made, name, value)
    *outer, last = name.split(".")
    outer.reduce(made) { |at, part| at[part] ||= {} }[last] = value
  end

  def collect(made, name, value)
    found = ((made["related"] ||= {})[name.split(".").last] ||= [])
    found << value unless found.include?(value)
  end
end

def filter(event)
  alert = JSON.parse(event.get("message"))
  raise JSON::ParserError, "no object" unless alert.is_a?(Hash)
  document = Hids.document(alert)
  (event.to_hash.keys - ["@timestamp"]).each { |name| event.remove(name) }
  document.each do |name, value|
    name == "@timestamp" ? event.timestamp = LogStash::Timestamp.new(value) : event.set(name, value)
  end
  [event]
rescue JSON::ParserError
  event.tag("_hids_no_alert")
  [event]
end
"""


def ruby() -> str:
    """The text of hids.rb."""
    rows = [json.dumps([field.member, field.type, field.names]) for field in FIELDS]
    return _RUBY % {
        "fields": "[\n" + ",\n".join(f"  {row}" for row in rows) + "\n]",
        "constant": json.dumps(CONSTANT),
        "other": OTHER,
        "max_name": MAX_NAME,
        "max_value": MAX_VALUE,
    }
