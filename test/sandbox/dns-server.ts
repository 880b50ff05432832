import { createSocket, type Socket as UdpSocket } from 'node:dgram';
import { once } from 'node:events';
import { createServer, type Socket, type Server as TcpServer } from 'node:net';
import * as dnsPacket from 'dns-packet';
import { RCODES, type Rcode, type ZoneAnswer } from './dns-zone.ts';

export interface Question {
  /** As the client wrote it, upper and lower case kept. */
  readonly name: string;
  readonly type: string;
  readonly transport: 'udp' | 'tcp';
  readonly recursionDesired: boolean;
}

export interface DnsListener {
  readonly port: number;
  close(): Promise<void>;
}

/** Largest UDP answer, whatever a client offers to take. */
const UDP_PAYLOAD_SIZE = 1232;
const BADVERS = 16;
const OPCODE = 0xf << 11;

/**
 * One name server by UDP and TCP on the same port of one address (RFC 1035 §4.2, EDNS by RFC 6891). Port 0 takes a free
 * one. Where `answer` gives `undefined`, the client hears nothing.
 * @throws the listen error (`EADDRINUSE`) with nothing left open
 */
export async function createDnsServer(
  address: string,
  port: number,
  answer: (question: Question) => ZoneAnswer | undefined,
): Promise<DnsListener> {
  const connections = new Set<Socket>();
  const tcp = createServer((socket) => {
    connections.add(socket);
    socket.on('close', () => connections.delete(socket));
    socket.on('error', () => socket.destroy());
    let received = Buffer.alloc(0);
    socket.on('data', (chunk) => {
      received = Buffer.concat([received, chunk]);
      while (received.length >= 2 && received.length >= 2 + received.readUInt16BE(0)) {
        const end = 2 + received.readUInt16BE(0);
        const reply = respond(received.subarray(2, end), 'tcp', answer);
        received = received.subarray(end);
        if (!reply) continue;
        const length = Buffer.alloc(2);
        length.writeUInt16BE(reply.length);
        socket.write(Buffer.concat([length, reply]));
      }
    });
  });
  const udp = createSocket('udp4');
  udp.on('message', (message, client) => {
    const reply = respond(message, 'udp', answer);
    // A client that has gone is no failure of the server.
    if (reply) udp.send(reply, client.port, client.address, () => {});
  });

  try {
    tcp.listen(port, address);
    await once(tcp, 'listening');
    udp.bind(portOf(tcp), address);
    await once(udp, 'listening');
  } catch (error) {
    await closeAll(tcp, udp, connections);
    throw error;
  }
  return { port: portOf(tcp), close: () => closeAll(tcp, udp, connections) };
}

async function closeAll(tcp: TcpServer, udp: UdpSocket, connections: ReadonlySet<Socket>): Promise<void> {
  for (const socket of connections) socket.destroy();
  await Promise.all([
    new Promise<void>((resolve) => tcp.close(() => resolve())),
    new Promise<void>((resolve) => udp.close(() => resolve())),
  ]);
}

function portOf(tcp: TcpServer): number {
  const address = tcp.address();
  if (address === null || typeof address === 'string') throw new Error('A TCP server without a port');
  return address.port;
}

function respond(
  message: Buffer,
  transport: Question['transport'],
  answer: (question: Question) => ZoneAnswer | undefined,
): Buffer | undefined {
  // Answering an answer would let two servers talk for ever.
  if (message.length < 12 || (message.readUInt16BE(2) & 0x8000) !== 0) return undefined;
  const id = message.readUInt16BE(0);
  let query: dnsPacket.DecodedPacket;
  try {
    query = dnsPacket.decode(message);
  } catch {
    return encode({ id, flags: RCODES.FORMERR });
  }
  const edns = query.additionals?.find((record): record is dnsPacket.OptAnswer => record.type === 'OPT');
  const recursionDesired = query.flag_rd;
  const header = (rcode: Rcode, bits = 0): dnsPacket.Packet => ({
    id,
    // Opcode and RD are the question's (RFC 1035 §4.1.1).
    flags:
      ((query.flags ?? 0) & (OPCODE | dnsPacket.RECURSION_DESIRED)) |
      dnsPacket.RECURSION_AVAILABLE |
      bits |
      RCODES[rcode],
    questions: query.questions ?? [],
    additionals: edns ? [opt(0)] : [],
  });

  if (((query.flags ?? 0) & OPCODE) !== 0) return encode(header('NOTIMP'));
  const [question, ...others] = query.questions ?? [];
  if (!question || others.length > 0) return encode(header('FORMERR'));
  if (edns && edns.ednsVersion !== 0) return encode({ ...header('NOERROR'), additionals: [opt(BADVERS)] });
  if (question.class !== 'IN') return encode(header('REFUSED'));

  const result = answer({ name: question.name, type: question.type, transport, recursionDesired });
  if (!result) return undefined;
  const head = header(result.rcode, result.authoritative ? dnsPacket.AUTHORITATIVE_ANSWER : 0);
  const whole = encode({
    ...head,
    answers: result.answers,
    authorities: result.authorities,
    additionals: [...result.additionals, ...(head.additionals ?? [])],
  });
  const limit = edns ? Math.min(Math.max(edns.udpPayloadSize, 512), UDP_PAYLOAD_SIZE) : 512;
  if (transport === 'tcp' || whole.length <= limit) return whole;
  return encode({ ...head, flags: (head.flags ?? 0) | dnsPacket.TRUNCATED_RESPONSE });
}

function encode(packet: dnsPacket.Packet): Buffer {
  return dnsPacket.encode({ type: 'response', ...packet });
}

function opt(rcode: number): dnsPacket.OptAnswer {
  return {
    type: 'OPT',
    name: '.',
    udpPayloadSize: UDP_PAYLOAD_SIZE,
    extendedRcode: rcode >> 4,
    ednsVersion: 0,
    flags: 0,
    flag_do: false,
    options: [],
  };
}
