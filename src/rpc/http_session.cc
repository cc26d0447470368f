#include "rpc/http_session.h"

#include <boost/asio/buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <optional>

#include "rpc/frame.h"

namespace markab::rpc {

namespace http = boost::beast::http;

struct HttpSession::Impl {
  std::string input;
  std::optional<http::request_parser<http::string_body>> parser;
  bool busy = false;
  bool keep_alive = true;
  bool started = false;  // some of the current request's bytes were taken
  bool header_seen = false;

  void fresh() {
    parser.emplace();
    parser->header_limit(kMaxHeaderBytes);
    parser->body_limit(kMaxBodyBytes);
    parser->eager(false);  // stop after the header, to look at it
    started = header_seen = false;
  }
};

namespace {

void append_response(std::string& out, const HttpResponse& response) {
  auto reason = http::obsolete_reason(static_cast<http::status>(response.status));
  out += fmt::format("HTTP/1.1 {} {}\r\nContent-Type: {}\r\n", response.status,
                     std::string_view(reason.data(), reason.size()), response.content_type);
  if (!response.location.empty()) out += fmt::format("Location: {}\r\n", response.location);
  out += fmt::format("Content-Length: {}\r\n\r\n", response.body.size());
  out += response.body;
}

void append_refusal(std::string& out, std::string why) {
  HttpResponse response;
  response.status = 400;
  response.body = "failed to parse request: " + std::move(why) + "\n";
  append_response(out, response);
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

Result<std::string> percent_decode(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out.push_back(text[i]);
    } else {
      int high = i + 2 < text.size() ? hex_digit(text[i + 1]) : -1;
      int low = i + 2 < text.size() ? hex_digit(text[i + 2]) : -1;
      if (high < 0 || low < 0) {
        return Status(Errc::kInvalidParameters,
                      fmt::format("'%' without two hex digits in '{}'", text));
      }
      out.push_back(static_cast<char>(high << 4 | low));
      i += 2;
    }
  }
  return out;
}

}  // namespace

Result<HttpRequest> parse_target(std::string_view target) {
  HttpRequest request;
  size_t fragment = target.find('#');
  target = target.substr(0, fragment);
  size_t question = target.find('?');
  std::string_view path = target.substr(0, question);
  // One slash between the parts, none at the ends.
  for (size_t at = 0; at < path.size();) {
    size_t end = std::min(path.find('/', at), path.size());
    if (end > at) {
      auto part = percent_decode(path.substr(at, end - at));
      if (!part) return part.error();
      if (!request.path.empty()) request.path.push_back('/');
      request.path += *part;
    }
    at = end + 1;
  }
  if (question == std::string_view::npos) return request;
  std::string_view query = target.substr(question + 1);
  for (size_t at = 0; at < query.size();) {
    size_t end = std::min(query.find('&', at), query.size());
    std::string_view item = query.substr(at, end - at);
    at = end + 1;
    if (item.empty()) continue;
    size_t equals = item.find('=');
    auto name = percent_decode(item.substr(0, equals));
    auto value = percent_decode(equals == std::string_view::npos ? "" : item.substr(equals + 1));
    if (!name) return name.error();
    if (!value) return value.error();
    if (!request.query.emplace(*name, *value).second) {
      return Status(Errc::kInvalidParameters, fmt::format("duplicate parameter: {}", *name));
    }
  }
  return request;
}

HttpSession::HttpSession() : impl_(std::make_unique<Impl>()) { impl_->fresh(); }
HttpSession::~HttpSession() = default;

bool HttpSession::busy() const { return impl_->busy; }

HttpSession::Next HttpSession::feed(std::string_view bytes, std::string& output) {
  Impl& s = *impl_;
  s.input.append(bytes);
  while (!s.busy && !s.input.empty()) {
    if (!s.started && s.input.size() >= kSignatureBytes && family_of(s.input) != Family::kHttp) {
      return Next::kClose;  // 01 §1: no other method is known
    }
    boost::system::error_code error;
    size_t used = s.parser->put(boost::asio::buffer(s.input), error);
    s.input.erase(0, used);
    s.started |= used > 0;
    if (error == http::error::need_more) return Next::kMore;
    if (error) {
      append_refusal(output, error.message());
      return Next::kClose;
    }
    if (s.parser->is_header_done() && !s.header_seen) {
      s.header_seen = true;
      // No tool sends chunks, and Beast's parser asserts on some malformed ones.
      if (s.parser->chunked()) {
        append_refusal(output, "a body in chunks is not taken; send it with its Content-Length");
        return Next::kClose;
      }
      s.parser->eager(true);
      if (s.parser->get()[http::field::expect] == "100-continue")
        output += "HTTP/1.1 100 Continue\r\n\r\n";
    }
    if (s.parser->is_done()) {
      s.busy = true;
      s.keep_alive = s.parser->get().keep_alive();
      return Next::kRequest;
    }
    if (used == 0) return Next::kMore;
  }
  return Next::kMore;
}

Result<HttpRequest> HttpSession::take_request() {
  auto& message = impl_->parser->get();
  auto target = message.target();
  auto parsed = parse_target({target.data(), target.size()});
  if (!parsed) return parsed.error();
  parsed->is_post = message.method() == http::verb::post;
  parsed->body = std::move(message.body());
  return parsed;
}

HttpSession::Next HttpSession::answered(const HttpResponse& response, std::string& output) {
  MARKAB_ASSERT(impl_->busy, "an HTTP answer without a request");
  append_response(output, response);
  impl_->busy = false;
  if (!impl_->keep_alive) return Next::kClose;
  impl_->fresh();
  return Next::kMore;
}

}  // namespace markab::rpc
