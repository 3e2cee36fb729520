# An alert of hids -> a document with the names of the Elastic Common Schema. Made by tools/fieldtable.py; see hids.conf.
require "date"
require "ipaddr"
require "json"
require "time"

module Hids
  # Member of the alert, type, names in the document.
  FIELDS = JSON.parse(<<'TABLE')
[
  ["timestamp", "date", ["@timestamp"]],
  ["id", "keyword", ["event.id"]],
  ["rule.level", "long", ["event.severity"]],
  ["rule.id", "keyword", ["rule.id"]],
  ["rule.description", "keyword", ["rule.description"]],
  ["rule.groups", "keyword", ["rule.category"]],
  ["rule.firedtimes", "long", ["hids.rule.firedtimes"]],
  ["rule.frequency", "long", ["hids.rule.frequency"]],
  ["rule.mail", "boolean", ["hids.rule.mail"]],
  ["rule.mitre.id", "keyword", ["threat.technique.id"]],
  ["rule.cve", "keyword", ["vulnerability.id"]],
  ["rule.info", "keyword", ["rule.reference"]],
  ["rule.pci_dss", "keyword", ["hids.rule.pci_dss"]],
  ["rule.cis", "keyword", ["hids.rule.cis"]],
  ["rule.gdpr", "keyword", ["hids.rule.gdpr"]],
  ["rule.gpg13", "keyword", ["hids.rule.gpg13"]],
  ["rule.hipaa", "keyword", ["hids.rule.hipaa"]],
  ["rule.nist_800_53", "keyword", ["hids.rule.nist_800_53"]],
  ["rule.tsc", "keyword", ["hids.rule.tsc"]],
  ["agent.id", "keyword", ["agent.id"]],
  ["agent.name", "keyword", ["agent.name", "host.name", "related.hosts"]],
  ["agent.ip", "ip", ["host.ip"]],
  ["agent.labels", "flat", ["labels"]],
  ["manager.name", "keyword", ["observer.name"]],
  ["full_log", "text", ["message"]],
  ["previous_output", "text", ["hids.previous_output"]],
  ["previous_log", "text", ["hids.previous_log"]],
  ["predecoder.program_name", "keyword", ["log.syslog.appname"]],
  ["predecoder.hostname", "keyword", ["log.syslog.hostname"]],
  ["predecoder.timestamp", "keyword", ["hids.predecoder.timestamp"]],
  ["decoder.name", "keyword", ["event.dataset"]],
  ["decoder.parent", "keyword", ["hids.decoder.parent"]],
  ["location", "keyword", ["log.file.path"]],
  ["data.srcip", "address", ["source"]],
  ["data.srcport", "long", ["source.port"]],
  ["data.srcuser", "keyword", ["source.user.name", "related.user"]],
  ["data.dstip", "address", ["destination"]],
  ["data.dstport", "long", ["destination.port"]],
  ["data.dstuser", "keyword", ["user.name", "related.user"]],
  ["data.protocol", "keyword", ["network.protocol"]],
  ["data.action", "keyword", ["event.action"]],
  ["data.id", "keyword", ["event.code"]],
  ["data.url", "keyword", ["url.original"]],
  ["data", "flat", ["data"]],
  ["syscheck.path", "keyword", ["file.path"]],
  ["syscheck.event", "keyword", ["hids.syscheck.event"]],
  ["syscheck.mode", "keyword", ["hids.syscheck.mode"]],
  ["syscheck.changed_attributes", "keyword", ["hids.syscheck.changed_attributes"]],
  ["syscheck.size_after", "long", ["file.size"]],
  ["syscheck.perm_after", "keyword", ["file.mode"]],
  ["syscheck.uid_after", "keyword", ["file.uid"]],
  ["syscheck.uname_after", "keyword", ["file.owner"]],
  ["syscheck.gid_after", "keyword", ["file.gid"]],
  ["syscheck.gname_after", "keyword", ["file.group"]],
  ["syscheck.mtime_after", "date", ["file.mtime"]],
  ["syscheck.inode_after", "keyword", ["file.inode"]],
  ["syscheck.md5_after", "keyword", ["file.hash.md5"]],
  ["syscheck.sha1_after", "keyword", ["file.hash.sha1"]],
  ["syscheck.sha256_after", "keyword", ["file.hash.sha256"]],
  ["syscheck.size_before", "long", ["hids.syscheck.size_before"]],
  ["syscheck.perm_before", "keyword", ["hids.syscheck.perm_before"]],
  ["syscheck.uid_before", "keyword", ["hids.syscheck.uid_before"]],
  ["syscheck.uname_before", "keyword", ["hids.syscheck.uname_before"]],
  ["syscheck.gid_before", "keyword", ["hids.syscheck.gid_before"]],
  ["syscheck.gname_before", "keyword", ["hids.syscheck.gname_before"]],
  ["syscheck.mtime_before", "date", ["hids.syscheck.mtime_before"]],
  ["syscheck.inode_before", "keyword", ["hids.syscheck.inode_before"]],
  ["syscheck.md5_before", "keyword", ["hids.syscheck.md5_before"]],
  ["syscheck.sha1_before", "keyword", ["hids.syscheck.sha1_before"]],
  ["syscheck.sha256_before", "keyword", ["hids.syscheck.sha256_before"]],
  ["syscheck.diff", "text", ["hids.syscheck.diff"]],
  ["hids.number", "long", ["hids.number"]],
  ["hids.source", "keyword", ["hids.source"]],
  ["hids.epoch", "long", ["hids.epoch"]],
  ["hids.seq", "long", ["hids.seq"]],
  ["hids.ruleset", "keyword", ["hids.ruleset"]],
  ["hids.incident.id", "keyword", ["hids.incident.id"]],
  ["hids.incident.key", "flat", ["hids.incident.key"]],
  ["hids.incident.news", "keyword", ["hids.incident.news"]]
]
TABLE
  CONSTANT = JSON.parse(<<'TABLE')
{"ecs.version": "8.17.0", "event.kind": "alert", "event.module": "hids"}
TABLE
  OTHER = "hids.other"
  MAX_NAME = 128
  MAX_VALUE = 8000
  MOMENT = /\A(\d{4})-(\d\d)-(\d\d)T([01]\d|2[0-3])(:[0-5]\d){2}(\.\d{1,9})?(Z|[+-]([01]\d|2[0-3]):?[0-5]\d)\z/
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
    when "long" then value.to_s =~ /\A-?[0-9]{1,18}\z/ ? value.to_s.to_i : nil
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
    address, zone = text.split("%", 2)
    return nil if zone && (zone.empty? || zone.include?("%") || !address.include?(":"))
    return nil unless address =~ /\A[0-9a-fA-F:.]+\z/
    IPAddr.new(address)
    address
  rescue IPAddr::Error
    nil
  end

  def moment(text)
    parts = MOMENT.match(text)
    return nil unless parts && Date.valid_date?(parts[1].to_i, parts[2].to_i, parts[3].to_i)
    Time.parse(text).utc.strftime("%Y-%m-%dT%H:%M:%S.%LZ")
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
    name.tr("\0", "_")[0, MAX_NAME].split(".", -1).map { |part| part.empty? ? "_" : part }.join(".")
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
