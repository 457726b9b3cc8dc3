#include "client/cli/json.h"

#include <charconv>
#include <cmath>

#include "base/log.h"
#include "base/text.h"

namespace ursa::cli {
namespace {

void AppendQuoted(std::string_view text, std::string* out) {
  static constexpr char kHex[] = "0123456789abcdef";
  out->push_back('"');
  for (const char c : text) {
    switch (c) {
      case '"':
        out->append("\\\"");
        break;
      case '\\':
        out->append("\\\\");
        break;
      case '\n':
        out->append("\\n");
        break;
      case '\r':
        out->append("\\r");
        break;
      case '\t':
        out->append("\\t");
        break;
      default:
        if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
          out->append("\\u00");
          out->push_back(kHex[(c >> 4) & 15]);
          out->push_back(kHex[c & 15]);
        } else {
          out->push_back(c);
        }
    }
  }
  out->push_back('"');
}

}  // namespace

Json::Json(double value) {
  if (!std::isfinite(value)) return;
  char digits[32];
  const auto [end, error] = std::to_chars(digits, digits + sizeof(digits), value);
  URSA_CHECK(error == std::errc()) << "a double has more than 31 characters";
  kind_ = Kind::kLiteral;
  text_.assign(digits, end);
}

Json Json::Array() {
  Json json;
  json.kind_ = Kind::kArray;
  return json;
}

Json Json::Object() {
  Json json;
  json.kind_ = Kind::kObject;
  return json;
}

Json& Json::Append(Json value) {
  URSA_CHECK(kind_ == Kind::kArray);
  members_.emplace_back(std::string(), std::move(value));
  return *this;
}

Json& Json::Set(std::string_view name, Json value) {
  URSA_CHECK(kind_ == Kind::kObject);
  for (auto& [key, member] : members_) {
    if (key == name) {
      member = std::move(value);
      return *this;
    }
  }
  members_.emplace_back(std::string(name), std::move(value));
  return *this;
}

const Json* Json::Find(std::string_view name) const {
  if (kind_ != Kind::kObject) return nullptr;
  for (const auto& [key, member] : members_) {
    if (key == name) return &member;
  }
  return nullptr;
}

std::string Json::Dump() const {
  std::string out;
  AppendTo(&out);
  return out;
}

void Json::AppendTo(std::string* out) const {
  switch (kind_) {
    case Kind::kNull:
      out->append("null");
      return;
    case Kind::kLiteral:
      out->append(text_);
      return;
    case Kind::kString:
      AppendQuoted(ToValidUtf8(text_), out);
      return;
    case Kind::kArray:
    case Kind::kObject:
      break;
  }
  const bool is_object = kind_ == Kind::kObject;
  out->push_back(is_object ? '{' : '[');
  bool first = true;
  for (const auto& [name, value] : members_) {
    if (!first) out->append(", ");
    first = false;
    if (is_object) {
      AppendQuoted(ToValidUtf8(name), out);
      out->append(": ");
    }
    value.AppendTo(out);
  }
  out->push_back(is_object ? '}' : ']');
}

}  // namespace ursa::cli
