// A client of the suite in Java: negotiates through the JDK's own GSSAPI provider, as Pegasus' Java client does, and
// reads one row of every partition of a table. The JDK needs four calls for a negotiation where Cyrus SASL needs five.
//
//   java Negotiate META_HOST:PORT TABLE SERVICE SERVICE_HOST PRINCIPAL KEYTAB [early] [watch]
//
// early: one query_cfg is written before the negotiation, in one packet with its first message, as older Java clients do
// on reconnecting. watch: goes on reading all partitions over and over; one line per round, "ok N" or "failed CAUSE";
// ends with the end of its standard input. Connections are made anew as soon as they break.
//
// Output of a single run: "steps N", "partitions N", "early ERR_OK", then "ok N"; status 0. A failure is one line,
// "failed CAUSE", status 1.

import java.io.ByteArrayOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.security.PrivilegedExceptionAction;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import javax.security.auth.Subject;
import javax.security.auth.login.AppConfigurationEntry;
import javax.security.auth.login.Configuration;
import javax.security.auth.login.LoginContext;
import javax.security.sasl.Sasl;
import javax.security.sasl.SaslClient;

public final class Negotiate {
  static final int LIST = 1, LIST_RESP = 2, SELECT = 3, SELECT_RESP = 4, INITIATE = 5, CHALLENGE = 6,
      CHALLENGE_RESP = 7, SUCC = 8, AUTH_DISABLE = 9, AUTH_FAIL = 10;
  static final int TIMEOUT_MS = 10000;

  final String service, serviceHost, principal, keytab;
  Subject subject;
  long loggedIn;

  Negotiate(String service, String serviceHost, String principal, String keytab) {
    this.service = service;
    this.serviceHost = serviceHost;
    this.principal = principal;
    this.keytab = keytab;
  }

  void login() throws Exception {
    Map<String, String> options = new HashMap<>();
    options.put("useKeyTab", "true");
    options.put("storeKey", "true");
    options.put("keyTab", keytab);
    options.put("principal", principal);
    options.put("refreshKrb5Config", "true");
    Configuration configuration = new Configuration() {
      @Override
      public AppConfigurationEntry[] getAppConfigurationEntry(String name) {
        return new AppConfigurationEntry[] {new AppConfigurationEntry("com.sun.security.auth.module.Krb5LoginModule",
            AppConfigurationEntry.LoginModuleControlFlag.REQUIRED, options)};
      }
    };
    LoginContext context = new LoginContext("client", new Subject(), null, configuration);
    context.login();
    subject = context.getSubject();
    loggedIn = System.nanoTime();
  }

  // ---- One connection: THFT, header version 1

  final class Session implements AutoCloseable {
    final Socket socket = new Socket();
    final DataInputStream in;
    final DataOutputStream out;
    int sequence = 0;
    int steps = 0;
    String early = "";

    Session(String host, int port, byte[] before) throws Exception {
      socket.setTcpNoDelay(true);
      socket.connect(new InetSocketAddress(host, port), TIMEOUT_MS);
      socket.setSoTimeout(TIMEOUT_MS);
      in = new DataInputStream(socket.getInputStream());
      out = new DataOutputStream(socket.getOutputStream());
      try {
        negotiate(before);
      } catch (Exception e) {
        socket.close();
        throw e;
      }
    }

    @Override
    public void close() throws IOException {
      socket.close();
    }

    // A reply after the error name and the message header: the result struct, or the error's name.
    final class Reply {
      String error;
      int sequence;
      DataInputStream result;
    }

    byte[] frame(String name, int app, int partition, byte[] arguments) throws IOException {
      ByteArrayOutputStream body = new ByteArrayOutputStream();
      DataOutputStream b = new DataOutputStream(body);
      b.writeInt(0x80010001);
      writeText(b, name);
      b.writeInt(++sequence);
      b.write(arguments);
      ByteArrayOutputStream meta = new ByteArrayOutputStream();
      DataOutputStream m = new DataOutputStream(meta);
      m.writeByte(8); m.writeShort(1); m.writeInt(app);
      m.writeByte(8); m.writeShort(2); m.writeInt(partition);
      m.writeByte(8); m.writeShort(3); m.writeInt(TIMEOUT_MS);
      m.writeByte(10); m.writeShort(4); m.writeLong(0);
      m.writeByte(2); m.writeShort(5); m.writeByte(0);
      m.writeByte(0);
      ByteArrayOutputStream whole = new ByteArrayOutputStream();
      DataOutputStream w = new DataOutputStream(whole);
      w.writeBytes("THFT");
      w.writeInt(1);
      w.writeInt(meta.size());
      w.writeInt(body.size());
      w.write(meta.toByteArray());
      w.write(body.toByteArray());
      return whole.toByteArray();
    }

    Reply receive() throws IOException {
      int length = in.readInt();
      byte[] bytes = new byte[length - 4];
      in.readFully(bytes);
      DataInputStream text = new DataInputStream(new java.io.ByteArrayInputStream(bytes));
      Reply reply = new Reply();
      reply.error = readText(text);
      text.readInt();
      readText(text);
      reply.sequence = text.readInt();
      reply.result = text;
      return reply;
    }

    Reply call(String name, int app, int partition, byte[] arguments) throws IOException {
      out.write(frame(name, app, partition, arguments));
      out.flush();
      return receive();
    }

    void negotiate(byte[] before) throws Exception {
      ByteArrayOutputStream first = new ByteArrayOutputStream();
      if (before != null) first.write(before);
      first.write(frame("RPC_NEGOTIATION", 0, 0, negotiation(LIST, new byte[0])));
      out.write(first.toByteArray());
      out.flush();
      ++steps;
      Object[] answer = answerOf(receive());
      if ((int) answer[0] == AUTH_DISABLE) return;
      expect(answer, LIST_RESP);
      if (!("," + new String((byte[]) answer[1], StandardCharsets.UTF_8) + ",").contains(",GSSAPI,"))
        throw new IOException("the server offers no GSSAPI");
      expect(ask(SELECT, "GSSAPI".getBytes(StandardCharsets.UTF_8)), SELECT_RESP);
      Map<String, String> properties = new HashMap<>();
      properties.put(Sasl.QOP, "auth");
      SaslClient client = as(() -> Sasl.createSaslClient(new String[] {"GSSAPI"}, null, service, serviceHost, properties,
          callbacks -> { }));
      byte[] token = as(() -> client.hasInitialResponse() ? client.evaluateChallenge(new byte[0]) : new byte[0]);
      int status = INITIATE;
      while (true) {
        answer = ask(status, token);
        if ((int) answer[0] == SUCC) break;
        expect(answer, CHALLENGE);
        byte[] challenge = (byte[]) answer[1];
        token = client.isComplete() ? new byte[0] : as(() -> client.evaluateChallenge(challenge));
        if (token == null) token = new byte[0];
        status = CHALLENGE_RESP;
      }
      if (!client.isComplete()) throw new IOException("the server ended before the JDK did");
      client.dispose();
      if (before != null) {
        Reply reply = receive();
        early = reply.error;
      }
    }

    Object[] ask(int status, byte[] token) throws IOException {
      ++steps;
      return answerOf(call("RPC_NEGOTIATION", 0, 0, negotiation(status, token)));
    }

    Object[] answerOf(Reply reply) throws IOException {
      if (!reply.error.equals("ERR_OK")) throw new IOException("the negotiation was answered with " + reply.error);
      // { 0: { 1: i32 status, 2: blob msg } }
      DataInputStream r = reply.result;
      int status = 0;
      byte[] msg = new byte[0];
      r.readByte();
      r.readShort();
      for (byte type = r.readByte(); type != 0; type = r.readByte()) {
        short id = r.readShort();
        if (id == 1) {
          status = r.readInt();
        } else {
          msg = new byte[r.readInt()];
          r.readFully(msg);
        }
      }
      return new Object[] {status, msg};
    }

    void expect(Object[] answer, int status) throws IOException {
      if ((int) answer[0] == status) return;
      if ((int) answer[0] == AUTH_FAIL)
        throw new IOException("refused: " + new String((byte[]) answer[1], StandardCharsets.UTF_8));
      throw new IOException("status " + answer[0] + " where " + status + " was expected");
    }
  }

  <T> T as(PrivilegedExceptionAction<T> action) throws Exception {
    try {
      return Subject.doAs(subject, action);
    } catch (java.security.PrivilegedActionException e) {
      throw e.getException();
    }
  }

  static byte[] negotiation(int status, byte[] token) throws IOException {
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    DataOutputStream b = new DataOutputStream(bytes);
    b.writeByte(12); b.writeShort(1);
    b.writeByte(8); b.writeShort(1); b.writeInt(status);
    b.writeByte(12); b.writeShort(2); b.writeInt(token.length); b.write(token);
    b.writeByte(0);
    b.writeByte(0);
    return bytes.toByteArray();
  }

  static void writeText(DataOutputStream out, String text) throws IOException {
    byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
    out.writeInt(bytes.length);
    out.write(bytes);
  }

  static String readText(DataInputStream in) throws IOException {
    byte[] bytes = new byte[in.readInt()];
    in.readFully(bytes);
    return new String(bytes, StandardCharsets.UTF_8);
  }

  // ---- A table: its partitions' primaries, and a row of each

  static byte[] queryOf(String table) throws IOException {
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    DataOutputStream b = new DataOutputStream(bytes);
    b.writeByte(12); b.writeShort(1);
    b.writeByte(11); b.writeShort(1); writeText(b, table);
    b.writeByte(15); b.writeShort(2); b.writeByte(8); b.writeInt(0);
    b.writeByte(0);
    b.writeByte(0);
    return bytes.toByteArray();
  }

  static final class Routing {
    String error = "";
    int app;
    List<Long> primaries = new ArrayList<>();
  }

  static Routing routingOf(DataInputStream r) throws IOException {
    Routing out = new Routing();
    r.readByte();
    r.readShort();
    for (byte type = r.readByte(); type != 0; type = r.readByte()) {
      short id = r.readShort();
      if (id == 1) {
        out.error = readText(r);
      } else if (id == 2) {
        out.app = r.readInt();
      } else if (id == 3) {
        r.readInt();
      } else if (id == 4) {
        r.readByte();
      } else {
        r.readByte();
        int count = r.readInt();
        for (int i = 0; i < count; ++i) out.primaries.add(primaryOf(r));
      }
    }
    return out;
  }

  // One partition_configuration; custom types are raw though their field says STRUCT.
  static long primaryOf(DataInputStream r) throws IOException {
    long primary = 0;
    for (byte type = r.readByte(); type != 0; type = r.readByte()) {
      short id = r.readShort();
      if (id == 4) {
        primary = r.readLong();
      } else if (type == 15) {
        r.readByte();
        for (int n = r.readInt(); n > 0; --n) r.readLong();
      } else if (type == 8) {
        r.readInt();
      } else {
        r.readLong();
      }
    }
    return primary;
  }

  static byte[] keyOf(String text) throws IOException {
    byte[] key = text.getBytes(StandardCharsets.UTF_8);
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    DataOutputStream b = new DataOutputStream(bytes);
    b.writeByte(12); b.writeShort(1);
    b.writeInt(key.length + 2);
    b.writeShort(key.length);
    b.write(key);
    b.writeByte(0);
    return bytes.toByteArray();
  }

  final Map<String, Session> sessions = new LinkedHashMap<>();

  Session session(String host, int port, byte[] before) throws Exception {
    String name = host + ":" + port;
    Session found = sessions.get(name);
    if (found == null) {
      found = new Session(host, port, before);
      sessions.put(name, found);
    }
    return found;
  }

  void forget(Session session) throws IOException {
    sessions.values().remove(session);
    session.close();
  }

  int readAll(String host, int port, String table) throws Exception {
    Session meta = session(host, port, null);
    Routing routing;
    try {
      Session.Reply reply = meta.call("RPC_CM_QUERY_PARTITION_CONFIG_BY_INDEX", 0, 0, queryOf(table));
      if (!reply.error.equals("ERR_OK")) throw new IOException("query_cfg: " + reply.error);
      routing = routingOf(reply.result);
    } catch (IOException e) {
      forget(meta);
      throw e;
    }
    if (!routing.error.equals("ERR_OK")) throw new IOException("query_cfg: " + routing.error);
    for (int i = 0; i < routing.primaries.size(); ++i) {
      long address = routing.primaries.get(i);
      if (address == 0) throw new IOException("partition " + i + " has no primary");
      String node = (address >>> 56 & 255) + "." + (address >>> 48 & 255) + "." + (address >>> 40 & 255) + "."
          + (address >>> 32 & 255);
      Session replica = session(node, (int) (address >>> 16 & 65535), null);
      try {
        Session.Reply reply = replica.call("RPC_RRDB_RRDB_GET", routing.app, i, keyOf("nobody"));
        if (!reply.error.equals("ERR_OK")) throw new IOException("get of partition " + i + ": " + reply.error);
      } catch (IOException e) {
        forget(replica);
        throw e;
      }
    }
    return routing.primaries.size();
  }

  static String causeOf(Throwable error) {
    StringBuilder out = new StringBuilder();
    for (Throwable e = error; e != null; e = e.getCause()) {
      if (out.length() > 0) out.append(" <- ");
      out.append(e.getClass().getSimpleName()).append(": ").append(e.getMessage());
    }
    return out.toString().replace('\n', ' ');
  }

  public static void main(String[] args) throws Exception {
    String host = args[0].substring(0, args[0].indexOf(':'));
    int port = Integer.parseInt(args[0].substring(args[0].indexOf(':') + 1));
    List<String> flags = List.of(args).subList(6, args.length);
    Negotiate client = new Negotiate(args[2], args[3], args[4], args[5]);
    try {
      client.login();
      if (flags.contains("watch")) {
        client.watch(host, port, args[1]);
        return;
      }
      byte[] before = null;
      if (flags.contains("early")) {
        // The frame of a session that does not exist yet; its sequence id collides with none that matters.
        before = earlyFrame(args[1]);
      }
      Session meta = client.session(host, port, before);
      System.out.println("steps " + meta.steps);
      if (before != null) System.out.println("early " + meta.early);
      System.out.println("ok " + client.readAll(host, port, args[1]));
    } catch (Exception e) {
      System.out.println("failed " + causeOf(e));
      System.exit(1);
    }
  }

  static byte[] earlyFrame(String table) throws IOException {
    ByteArrayOutputStream body = new ByteArrayOutputStream();
    DataOutputStream b = new DataOutputStream(body);
    b.writeInt(0x80010001);
    writeText(b, "RPC_CM_QUERY_PARTITION_CONFIG_BY_INDEX");
    b.writeInt(1000);
    b.write(queryOf(table));
    ByteArrayOutputStream meta = new ByteArrayOutputStream();
    DataOutputStream m = new DataOutputStream(meta);
    m.writeByte(8); m.writeShort(3); m.writeInt(5000);
    m.writeByte(0);
    ByteArrayOutputStream whole = new ByteArrayOutputStream();
    DataOutputStream w = new DataOutputStream(whole);
    w.writeBytes("THFT");
    w.writeInt(1);
    w.writeInt(meta.size());
    w.writeInt(body.size());
    w.write(meta.toByteArray());
    w.write(body.toByteArray());
    return whole.toByteArray();
  }

  static final long RELOGIN_NS = 30_000_000_000L;

  void watch(String host, int port, String table) throws Exception {
    while (System.in.available() == 0) {
      long now = System.nanoTime();
      try {
        if (now - loggedIn > RELOGIN_NS) login();
      } catch (Exception e) {
        // Connections that exist go on; a new one will say what is wrong.
        loggedIn = now - RELOGIN_NS + 1_000_000_000L;
      }
      try {
        System.out.println("ok " + readAll(host, port, table));
      } catch (Exception e) {
        System.out.println("failed " + causeOf(e));
      }
      System.out.flush();
      Thread.sleep(100);
    }
  }
}
